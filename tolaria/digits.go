package tolaria

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"

	"github.com/esper-lite/weatherlight/kernel"
)

// digitsFile is the UCI handwritten digits set; see digits/README.md for its
// source and licence.
//
//go:embed digits/digits.csv.gz
var digitsFile []byte

const (
	digitSide   = 8
	digitPixels = digitSide * digitSide
	// digitMiddle is half the largest pixel value of the set.
	digitMiddle = 8
	// blank is the background's value.
	blank = -1
)

// Digits loads the embedded set of 1,797 handwritten digits: 64 features, scaled
// to -1..1, and 10 classes.
func Digits() (*Dataset, error) {
	archive, err := gzip.NewReader(bytes.NewReader(digitsFile))
	if err != nil {
		return nil, fmt.Errorf("open digits: %w", err)
	}
	rows := csv.NewReader(archive)
	rows.FieldsPerRecord = digitPixels + 1
	var pixels []float32
	var labels []int
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read digits: %w", err)
		}
		if pixels, labels, err = appendDigit(pixels, labels, row); err != nil {
			return nil, fmt.Errorf("digit %d: %w", len(labels)+1, err)
		}
	}
	return &Dataset{Inputs: kernel.FromSlice(pixels, len(labels), digitPixels), Labels: labels}, nil
}

func appendDigit(pixels []float32, labels []int, row []string) ([]float32, []int, error) {
	for _, text := range row[:digitPixels] {
		pixel, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return nil, nil, fmt.Errorf("pixel: %w", err)
		}
		pixels = append(pixels, float32(pixel)/digitMiddle-1)
	}
	label, err := strconv.Atoi(row[digitPixels])
	if err != nil {
		return nil, nil, fmt.Errorf("label: %w", err)
	}
	return pixels, append(labels, label), nil
}

// farthest is how far the digits of MovingDigits lie from their place, in pixels
// across and down.
const farthest = 1

// MovingDigits are the digits split for training, each moved by up to one pixel
// across and down: training examples anew in each pass, those held out once. To
// tell a digit wherever it lies takes more than a small network has.
func MovingDigits(rng *rand.Rand) (*Data, error) {
	digits, err := Digits()
	if err != nil {
		return nil, err
	}
	split := digits.Split(rng)
	split.Validation = split.Validation.varied(rng, moveDigit)
	split.Test = split.Test.varied(rng, moveDigit)
	return &Data{Split: split, Vary: moveDigit}, nil
}

// moveDigit moves an image; what comes in from outside is blank.
func moveDigit(rng *rand.Rand, to, from []float32) {
	across := rng.IntN(2*farthest+1) - farthest
	down := rng.IntN(2*farthest+1) - farthest
	for y := range digitSide {
		for x := range digitSide {
			value := float32(blank)
			if fromX, fromY := x-across, y-down; min(fromX, fromY) >= 0 && max(fromX, fromY) < digitSide {
				value = from[fromY*digitSide+fromX]
			}
			to[y*digitSide+x] = value
		}
	}
}
