package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/esper-lite/weatherlight/tolaria"
)

// Sizes of the curve's picture, in pixels.
const (
	curveWidth  = 860
	curveHeight = 420
	curveLeft   = 56
	curveRight  = 24
	curveTop    = 64
	curveBottom = 44
)

// drawCurve draws the validation accuracy of the whole model and of the host
// alone, epoch by epoch, with every stage change marked, as an SVG.
func drawCurve(r *report) []byte {
	epochs := r.result.Epochs
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		curveWidth, curveHeight, curveWidth, curveHeight)
	fmt.Fprintf(&svg, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&svg, `<text x="%d" y="22" font-size="15">Validation accuracy: host alone and grown (test set: %.1f %% to %.1f %%)</text>`+"\n",
		curveLeft, 100*r.HostAccuracy, 100*r.GrownAccuracy)
	drawGrid(&svg)
	drawStages(&svg, epochs)
	drawLine(&svg, epochs, "#9aa0a6", func(e tolaria.Epoch) float64 { return e.HostAccuracy })
	drawLine(&svg, epochs, "#1a73e8", func(e tolaria.Epoch) float64 { return e.Accuracy })
	fmt.Fprintf(&svg, `<text x="%d" y="%d" fill="#9aa0a6">host alone</text><text x="%d" y="%d" fill="#1a73e8">whole model</text>`+"\n",
		curveLeft, curveHeight-12, curveLeft+90, curveHeight-12)
	fmt.Fprintf(&svg, `<text x="%d" y="%d" text-anchor="end">epoch %d</text>`+"\n</svg>\n", curveWidth-curveRight, curveHeight-12, len(epochs))
	return svg.Bytes()
}

func drawGrid(svg *bytes.Buffer) {
	for tenths := 0; tenths <= 10; tenths += 2 {
		y := accuracyY(float64(tenths) / 10)
		fmt.Fprintf(svg, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e8eaed"/><text x="%d" y="%.1f" text-anchor="end">%d %%</text>`+"\n",
			curveLeft, y, curveWidth-curveRight, y, curveLeft-8, y+4, tenths*10)
	}
}

// drawStages marks where a seed entered a new stage, as the trainer saw it.
func drawStages(svg *bytes.Buffer, epochs []tolaria.Epoch) {
	stages := make(map[string]string)
	marks := 0
	for i, epoch := range epochs {
		for _, seed := range epoch.Seeds {
			stage := seed.GetStage().String()
			if stages[seed.GetSeedId()] == stage {
				continue
			}
			stages[seed.GetSeedId()] = stage
			x := epochX(i, len(epochs))
			fmt.Fprintf(svg, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#188038" stroke-dasharray="3 3"/>`+"\n",
				x, curveTop-18, x, curveHeight-curveBottom)
			// Two rows of names keep neighbours apart.
			fmt.Fprintf(svg, `<text x="%.1f" y="%d" font-size="10" fill="#188038">%s</text>`+"\n",
				x+2, curveTop-20+12*(marks%2), html.EscapeString(strings.ToLower(strings.TrimPrefix(stage, "SEED_STAGE_"))))
			marks++
		}
	}
}

func drawLine(svg *bytes.Buffer, epochs []tolaria.Epoch, colour string, accuracy func(tolaria.Epoch) float64) {
	points := make([]string, len(epochs))
	for i, epoch := range epochs {
		points[i] = fmt.Sprintf("%.1f,%.1f", epochX(i, len(epochs)), accuracyY(accuracy(epoch)))
	}
	fmt.Fprintf(svg, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`+"\n", colour, strings.Join(points, " "))
}

func epochX(i, count int) float64 {
	return curveLeft + float64(i)*(curveWidth-curveLeft-curveRight)/float64(max(count-1, 1))
}

func accuracyY(accuracy float64) float64 {
	return curveHeight - curveBottom - accuracy*(curveHeight-curveBottom-curveTop)
}
