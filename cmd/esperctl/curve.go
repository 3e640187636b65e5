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
	curveRight  = 64
	curveTop    = 64
	curveBottom = 44
)

const (
	hostColour  = "#9aa0a6"
	modelColour = "#1a73e8"
	stageColour = "#188038"
)

// drawCurve draws the validation accuracy of the whole model and of the host
// alone, epoch by epoch, with every stage change marked, as an SVG.
func drawCurve(r *report) []byte {
	epochs := r.result.Epochs
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d"`+
		` font-family="sans-serif" font-size="12">`+"\n", curveWidth, curveHeight)
	fmt.Fprintf(&svg, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	title := fmt.Sprintf("Validation accuracy: host alone and grown (test set: %.1f %% to %.1f %%)",
		100*r.HostAccuracy, 100*r.GrownAccuracy)
	drawText(&svg, curveLeft, 22, title, `font-size="15"`)
	drawGrid(&svg)
	drawStages(&svg, epochs)
	drawLine(&svg, epochs, hostColour, func(e tolaria.Epoch) float64 { return e.HostAccuracy })
	drawLine(&svg, epochs, modelColour, func(e tolaria.Epoch) float64 { return e.Accuracy })
	drawText(&svg, curveLeft, curveHeight-12, "host alone", `fill="`+hostColour+`"`)
	drawText(&svg, curveLeft+90, curveHeight-12, "whole model", `fill="`+modelColour+`"`)
	drawText(&svg, curveWidth-curveRight, curveHeight-12, fmt.Sprintf("epoch %d", len(epochs)), `text-anchor="end"`)
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

func drawText(svg *bytes.Buffer, x, y float64, text, attributes string) {
	fmt.Fprintf(svg, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(text))
}

func drawRule(svg *bytes.Buffer, x1, y1, x2, y2 float64, attributes string) {
	fmt.Fprintf(svg, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, attributes)
}

func drawGrid(svg *bytes.Buffer) {
	for tenths := 0; tenths <= 10; tenths += 2 {
		y := accuracyY(float64(tenths) / 10)
		drawRule(svg, curveLeft, y, curveWidth-curveRight, y, `stroke="#e8eaed"`)
		drawText(svg, curveLeft-8, y+4, fmt.Sprintf("%d %%", tenths*10), `text-anchor="end"`)
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
			drawRule(svg, x, curveTop-18, x, curveHeight-curveBottom, `stroke="`+stageColour+`" stroke-dasharray="3 3"`)
			// Two rows of names keep neighbours apart.
			drawText(svg, x+2, float64(curveTop-20+12*(marks%2)), shortStage(stage), `font-size="10" fill="`+stageColour+`"`)
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
