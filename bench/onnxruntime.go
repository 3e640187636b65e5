package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/esper-lite/weatherlight/kernel"
)

// errNotAtHand says that the runtime is not installed; that is no failure.
var errNotAtHand = errors.New("not at hand: make oracle installs it")

// onnxRuntime runs kernels in ONNX Runtime, through the script of the oracle.
type onnxRuntime struct {
	script, folder string
}

func (b *bench) findONNXRuntime(ctx context.Context) (*onnxRuntime, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	oracle := filepath.Join(root, "internal", "oracle")
	_, missing := os.Stat(filepath.Join(oracle, "node_modules", "onnxruntime-node", "package.json"))
	if _, err := exec.LookPath("node"); err != nil || missing != nil {
		return nil, errNotAtHand
	}
	folder := filepath.Join(b.folder, "onnxruntime")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	return &onnxRuntime{filepath.Join(oracle, "run.js"), folder}, nil
}

// prepare writes the kernel and its input down.
func (r *onnxRuntime) prepare(file []byte, input *kernel.Tensor) error {
	var data bytes.Buffer
	if err := binary.Write(&data, binary.LittleEndian, input.Data); err != nil {
		return fmt.Errorf("encode input: %w", err)
	}
	cases, err := json.Marshal([]map[string]any{{"name": "bench", "shape": input.Shape, "timed": true}})
	if err != nil {
		return fmt.Errorf("encode case: %w", err)
	}
	for name, content := range map[string][]byte{
		"bench.onnx": file, "bench.input": data.Bytes(), "cases.json": cases,
	} {
		if err := os.WriteFile(filepath.Join(r.folder, name), content, 0o600); err != nil {
			return fmt.Errorf("write case: %w", err)
		}
	}
	return nil
}

// forward is the median time of a forward pass, in milliseconds.
func (r *onnxRuntime) forward(ctx context.Context) (float64, error) {
	if output, err := exec.CommandContext(ctx, "node", r.script, r.folder).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("run ONNX Runtime: %w\n%s", err, output)
	}
	text, err := os.ReadFile(filepath.Join(r.folder, "answers.json"))
	if err != nil {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	var answers []struct {
		Error        string  `json:"error"`
		Milliseconds float64 `json:"milliseconds"`
	}
	if err := json.Unmarshal(text, &answers); err != nil {
		return 0, fmt.Errorf("read answer: %w", err)
	}
	if len(answers) != 1 || answers[0].Error != "" {
		return 0, fmt.Errorf("ONNX Runtime answered %v", answers)
	}
	return answers[0].Milliseconds, nil
}
