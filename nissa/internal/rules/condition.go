package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
	"github.com/prometheus/common/model"
)

const (
	maxNodes  = 128            // of a condition
	maxWindow = 6 * time.Hour  // that a condition looks back
	budget    = uint(64 << 10) // memory of an evaluation, in units of the engine
	maxLength = 4096           // bytes of a condition
)

// Env is what a condition sees of one observation.
type Env struct {
	Source string            `expr:"source"`
	Name   string            `expr:"name"`   // of the metric or event
	Value  float64           `expr:"value"`  // 1 for an event
	Level  string            `expr:"level"`  // of an event: info, warning, error, critical
	Labels map[string]string `expr:"labels"` // of the point, or the attributes of the event

	// These look back over the observations of the same subject, this one included; a window is a
	// text such as "5m".
	Count    func(window string) float64 `expr:"count"`
	Increase func(window string) float64 `expr:"increase"`
	Average  func(window string) float64 `expr:"average"`
	Highest  func(window string) float64 `expr:"highest"`
	Lowest   func(window string) float64 `expr:"lowest"`
	// Last is the last value of another metric of the same subject, not a number when none came.
	Last func(metric string) float64 `expr:"last"`
}

// Condition is a question about an observation. It is safe for concurrent use.
type Condition struct {
	text    string
	program *vm.Program
	window  time.Duration
	metrics []string
}

// Window is how far it looks back, 0 when it does not.
func (c *Condition) Window() time.Duration { return c.window }

// Metrics are those whose last values it asks for.
func (c *Condition) Metrics() []string { return c.metrics }

func (c *Condition) String() string { return c.text }

// Holds answers it.
func (c *Condition) Holds(env Env) (bool, error) {
	machine := vm.VM{MemoryBudget: budget}
	answer, err := machine.Run(c.program, env)
	if err != nil {
		return false, fmt.Errorf("%s: %w", c.text, err)
	}
	holds, is := answer.(bool)
	if !is {
		return false, fmt.Errorf("%s: is %T, not true or false", c.text, answer)
	}
	return holds, nil
}

// functions are those that cost no more than their arguments are long.
var functions = []string{"abs", "ceil", "floor", "round", "max", "min", "len", "lower", "upper", "trim", "int", "float", "string"}

func compile(text string) (*Condition, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("%d bytes are too long, %d are allowed", len(text), maxLength)
	}
	c := &Condition{text: strings.TrimSpace(text)}
	looked := visitor{condition: c}
	options := []expr.Option{expr.Env(Env{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(), expr.Patch(&looked)}
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(text, options...)
	if err != nil {
		return nil, errors.New(oneLine(err.Error()))
	}
	if len(looked.faults) > 0 {
		return nil, errors.New(strings.Join(looked.faults, "; "))
	}
	c.program = program
	return c, nil
}

func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "|", " ")), " ")
}

// visitor finds what a condition looks back at. Both must be known beforehand, so that no more
// is kept than is asked for.
type visitor struct {
	condition *Condition
	faults    []string
}

func (v *visitor) Visit(node *ast.Node) {
	if binary, is := (*node).(*ast.BinaryNode); is && (binary.Operator == ".." || binary.Operator == "**" || binary.Operator == "^") {
		v.faults = append(v.faults, "the operator "+binary.Operator+" is not allowed")
	}
	if builtin, is := (*node).(*ast.BuiltinNode); is && !slices.Contains(functions, builtin.Name) {
		v.faults = append(v.faults, "the function "+builtin.Name+" is not allowed") // it may loop
	}
	call, is := (*node).(*ast.CallNode)
	if !is {
		return
	}
	function, is := call.Callee.(*ast.IdentifierNode)
	if !is || len(call.Arguments) != 1 || !slices.Contains(backward, function.Value) && function.Value != "last" {
		return
	}
	argument, is := call.Arguments[0].(*ast.StringNode)
	if !is {
		v.faults = append(v.faults, function.Value+" wants a text that stands there as it is")
		return
	}
	v.note(function.Value, argument.Value)
}

var backward = []string{"count", "increase", "average", "highest", "lowest"}

func (v *visitor) note(function, argument string) {
	if function == "last" {
		if !slices.Contains(v.condition.metrics, argument) {
			v.condition.metrics = append(v.condition.metrics, argument)
		}
		return
	}
	window, err := Window(argument)
	if err != nil {
		v.faults = append(v.faults, err.Error())
		return
	}
	v.condition.window = max(v.condition.window, window)
}

// Window is the duration that a condition names.
func Window(text string) (time.Duration, error) {
	window, err := model.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no window such as 5m", text)
	case window <= 0 || time.Duration(window) > maxWindow:
		return 0, fmt.Errorf("the window %s is not between 1s and %s", text, model.Duration(maxWindow))
	}
	return time.Duration(window), nil
}
