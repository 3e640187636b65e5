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
	digitPixels  = 64
	digitClasses = 10
	// digitMiddle is half the largest pixel value of the set.
	digitMiddle = 8
)

// Dataset is a labelled set of examples.
type Dataset struct {
	// Inputs has the shape [examples, features], scaled to -1..1.
	Inputs *kernel.Tensor
	// Labels has one class index an example.
	Labels []int
}

// Len is the number of examples.
func (d *Dataset) Len() int { return len(d.Labels) }

// Split is a dataset divided for honest measurement: training fits the
// weights, validation steers growth, and test is looked at only to report.
type Split struct {
	Train, Validation, Test *Dataset
}

// Digits loads the embedded set of 1,797 handwritten digits: 64 features, 10
// classes.
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

// Split shuffles the set with rng and divides it: 60 % train, 20 % validation,
// 20 % test.
func (d *Dataset) Split(rng *rand.Rand) Split {
	order := rng.Perm(d.Len())
	train, validation := d.Len()*6/10, d.Len()*8/10
	return Split{
		Train:      d.pick(order[:train]),
		Validation: d.pick(order[train:validation]),
		Test:       d.pick(order[validation:]),
	}
}

// pick copies the examples at the given places, in that order.
func (d *Dataset) pick(places []int) *Dataset {
	features := d.Inputs.Cols()
	picked := &Dataset{Inputs: kernel.NewTensor(len(places), features), Labels: make([]int, len(places))}
	for i, place := range places {
		copy(picked.Inputs.Data[i*features:(i+1)*features], d.Inputs.Data[place*features:(place+1)*features])
		picked.Labels[i] = d.Labels[place]
	}
	return picked
}

// batches calls visit with consecutive mini-batches of a shuffled copy of the
// set. The last batch may be smaller.
func (d *Dataset) batches(rng *rand.Rand, size int, visit func(*Dataset) error) error {
	order := rng.Perm(d.Len())
	for start := 0; start < len(order); start += size {
		end := min(start+size, len(order))
		if err := visit(d.pick(order[start:end])); err != nil {
			return err
		}
	}
	return nil
}
