package demo

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/tolaria"
)

// Sizes of the curve's picture, in pixels.
const (
	curveWidth  = 860
	curveHeight = 420
	curveLeft   = 56
	curveRight  = 64
	curveTop    = 84
	curveBottom = 44
	// markRows of names there is room for without making the picture higher; a name is markHigh
	// high, and takes at most markWide a letter.
	markRows = 4
	markHigh = 12
	markWide = 6
)

const (
	hostColour  = "#9aa0a6"
	modelColour = "#1a73e8"
	stageColour = "#188038"
)

// curveFile is where the curve goes, found to be writable before anything is
// trained for it. Nil is nowhere.
type curveFile struct {
	file *os.File
	made bool // it was not there before
}

func openCurve(path string) (*curveFile, error) {
	if path == "" {
		return nil, nil
	}
	_, err := os.Stat(path)
	made := errors.Is(err, os.ErrNotExist)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, process.Misconfigured("--curve", process.CannotWrite(path, err))
	}
	return &curveFile{file: file, made: made}, nil
}

func (c *curveFile) write(picture []byte) error {
	if c == nil {
		return nil
	}
	_, err := c.file.Write(picture)
	if err == nil {
		err = c.file.Truncate(int64(len(picture)))
		if errors.Is(err, syscall.EINVAL) {
			err = nil // a pipe or a device has no length
		}
	}
	if err != nil {
		return fmt.Errorf("write curve: %w", err)
	}
	return nil
}

// close leaves no empty file of ours behind when nothing came of it.
func (c *curveFile) close(good bool) error {
	if c == nil {
		return nil
	}
	err := c.file.Close()
	if c.made && !good {
		err = errors.Join(err, os.Remove(c.file.Name()))
	}
	return err
}

// drawCurve draws the validation accuracy of the first network, whole and without
// the seed on trial, epoch by epoch, with every stage change marked, as an SVG.
func drawCurve(r *report) []byte {
	epochs := r.first.Epochs
	marks, rows := placed(marksOf(epochs))
	higher := markHigh * max(rows-markRows, 0)
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 %[3]d %[1]d %[2]d"`+
		` font-family="sans-serif" font-size="12">`+"\n", curveWidth, curveHeight+higher, -higher)
	fmt.Fprintf(&svg, `<rect y="%d" width="100%%" height="100%%" fill="white"/>`+"\n", -higher)
	title := fmt.Sprintf("Validation accuracy while it grows (test set: %.1f %% at rest, %.1f %% grown)",
		100*r.first.HostAccuracy, 100*r.first.GrownAccuracy)
	drawText(&svg, curveLeft, float64(22-higher), title, `font-size="15"`)
	drawGrid(&svg)
	drawMarks(&svg, marks, higher)
	drawLine(&svg, epochs, hostColour, func(e tolaria.Epoch) float64 { return e.HostAccuracy })
	drawLine(&svg, epochs, modelColour, func(e tolaria.Epoch) float64 { return e.Accuracy })
	drawText(&svg, curveLeft, curveHeight-12, "without the seed on trial", `fill="`+hostColour+`"`)
	drawText(&svg, curveLeft+160, curveHeight-12, "whole network", `fill="`+modelColour+`"`)
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

// mark is where a seed entered a new stage, or left.
type mark struct {
	x    float64
	name string
	left bool // the name stands on the left of the line
	row  int
}

// marksOf are those of a run, as the trainer saw it.
func marksOf(epochs []tolaria.Epoch) (marks []mark) {
	stages := make(map[string]string)
	add := func(epoch int, name string) { marks = append(marks, mark{x: epochX(epoch, len(epochs)), name: name}) }
	for i, epoch := range epochs {
		present := make(map[string]bool)
		for _, seed := range epoch.Seeds {
			present[seed.ID] = true
			if stage := seed.Stage.String(); stages[seed.ID] != stage {
				stages[seed.ID] = stage
				add(i, shortStage(stage)+" "+seed.Blueprint)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(stages)) {
			if !present[id] {
				delete(stages, id)
				add(i, shortStage(stageCulled))
			}
		}
	}
	return marks
}

// placed gives each mark a row in which its name touches no other, and says how many rows that takes.
func placed(marks []mark) (_ []mark, rows int) {
	var ends []float64 // of the last name in each row
	for i := range marks {
		m := &marks[i]
		wide := float64(markWide * len(m.name))
		m.left = m.x+wide > curveWidth
		from := m.x
		if m.left {
			from -= wide
		}
		m.row = slices.IndexFunc(ends, func(end float64) bool { return end < from })
		if m.row < 0 {
			m.row = len(ends)
			ends = append(ends, 0)
		}
		ends[m.row] = from + wide
	}
	return marks, len(ends)
}

func drawMarks(svg *bytes.Buffer, marks []mark, higher int) {
	for _, m := range marks {
		y := float64(curveTop - 32 + markHigh*m.row - higher)
		drawRule(svg, m.x, y-8, m.x, curveHeight-curveBottom, `stroke="`+stageColour+`" stroke-dasharray="3 3"`)
		x, anchor := m.x+2, ""
		if m.left {
			x, anchor = m.x-2, ` text-anchor="end"`
		}
		drawText(svg, x, y, m.name, `font-size="10" fill="`+stageColour+`"`+anchor)
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
