package kernel

import "math"

// pointwise is an element-wise operation: its value, and its derivative from
// operand and value.
type pointwise struct {
	forward    func(x float32) float32
	derivative func(x, y float32) float32
}

// Sqrt is the square root by element.
func (t *Tape) Sqrt(x Value) (Value, error) { return t.pointwise("sqrt", &squareRoot, x) }

// Neg is -x.
func (t *Tape) Neg(x Value) (Value, error) { return t.Scale(x, -1) }

// Exp is the exponential by element.
func (t *Tape) Exp(x Value) (Value, error) { return t.pointwise("exp", &exponential, x) }

// Abs is the absolute value; its derivative at 0 is 0.
func (t *Tape) Abs(x Value) (Value, error) { return t.pointwise("abs", &absolute, x) }

// Relu is max(x, 0); its derivative at 0 is 0.
func (t *Tape) Relu(x Value) (Value, error) { return t.pointwise("relu", &rectifier, x) }

// Sigmoid is 1/(1+exp(-x)).
func (t *Tape) Sigmoid(x Value) (Value, error) { return t.pointwise("sigmoid", &logistic, x) }

// Tanh is the hyperbolic tangent.
func (t *Tape) Tanh(x Value) (Value, error) { return t.pointwise("tanh", &hyperbolicTangent, x) }

// Erf is the error function.
func (t *Tape) Erf(x Value) (Value, error) { return t.pointwise("erf", &errorFunction, x) }

// Gelu is x/2 * (1 + erf(x/sqrt 2)), the exact form (Hendrycks and Gimpel 2016).
func (t *Tape) Gelu(x Value) (Value, error) { return t.pointwise("gelu", &gaussianLinear, x) }

// Sin is the sine of x radians.
func (t *Tape) Sin(x Value) (Value, error) { return t.pointwise("sin", &sine, x) }

// Cos is the cosine of x radians.
func (t *Tape) Cos(x Value) (Value, error) { return t.pointwise("cos", &cosine, x) }

func (t *Tape) pointwise(op string, kind *pointwise, x Value) (Value, error) {
	n, out, err := t.record(op, x)
	if err != nil {
		return Value{}, err
	}
	src := n.in[0].value.Data
	n.allocate(n.in[0].value.Shape...)
	n.pointwise, n.back = kind, backPointwise
	if costly*len(src) < laneWork {
		kind.apply(n.value.Data, src)
		return out, nil
	}
	kind.applyInParts(n.value.Data, src)
	return out, nil
}

func (p *pointwise) apply(y, x []float32) {
	for i, v := range x {
		y[i] = p.forward(v)
	}
}

func (p *pointwise) applyInParts(y, x []float32) {
	eachPart(len(y), int64(costly*len(y)), func(_, from, to int) { p.apply(y[from:to], x[from:to]) })
}

func backPointwise(n *node) {
	if costly*len(n.value.Data) < laneWork {
		n.addSlopes(0, len(n.value.Data))
		return
	}
	eachPart(len(n.value.Data), int64(costly*len(n.value.Data)), func(_, from, to int) { n.addSlopes(from, to) })
}

// addSlopes adds the gradient of elements from..to-1 of the operand.
func (n *node) addSlopes(from, to int) {
	dx, x, y := n.in[0].grad.Data[from:to], n.in[0].value.Data[from:to], n.value.Data[from:to]
	derivative := n.pointwise.derivative
	for i, g := range n.grad.Data[from:to] {
		dx[i] += g * derivative(x[i], y[i])
	}
}

var squareRoot = pointwise{
	forward:    func(x float32) float32 { return float32(math.Sqrt(float64(x))) },
	derivative: func(_, y float32) float32 { return 0.5 / y },
}

var exponential = pointwise{
	forward:    func(x float32) float32 { return float32(math.Exp(float64(x))) },
	derivative: func(_, y float32) float32 { return y },
}

var absolute = pointwise{
	forward: func(x float32) float32 { return float32(math.Abs(float64(x))) },
	derivative: func(x, _ float32) float32 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return 0
	},
}

var rectifier = pointwise{
	// The builtin max keeps a NaN, so that a broken layer stays visible.
	forward: func(x float32) float32 { return max(x, 0) },
	derivative: func(x, _ float32) float32 {
		if x > 0 {
			return 1
		}
		return 0
	},
}

var logistic = pointwise{
	forward:    func(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) },
	derivative: func(_, y float32) float32 { return y * (1 - y) },
}

var hyperbolicTangent = pointwise{
	forward:    func(x float32) float32 { return float32(math.Tanh(float64(x))) },
	derivative: func(_, y float32) float32 { return 1 - y*y },
}

var errorFunction = pointwise{
	forward: func(x float32) float32 { return float32(math.Erf(float64(x))) },
	derivative: func(x, _ float32) float32 {
		return float32(2 / math.Sqrt(math.Pi) * math.Exp(-float64(x)*float64(x)))
	},
}

var gaussianLinear = pointwise{
	forward: func(x float32) float32 { return float32(float64(x) * normalCDF(float64(x))) },
	derivative: func(x, _ float32) float32 {
		v := float64(x)
		density := math.Exp(-v*v/2) / math.Sqrt(2*math.Pi)
		return float32(normalCDF(v) + v*density)
	},
}

func normalCDF(x float64) float64 { return 0.5 * (1 + math.Erf(x/math.Sqrt2)) }

var sine = pointwise{
	forward:    func(x float32) float32 { return float32(math.Sin(float64(x))) },
	derivative: func(x, _ float32) float32 { return float32(math.Cos(float64(x))) },
}

var cosine = pointwise{
	forward:    func(x float32) float32 { return float32(math.Cos(float64(x))) },
	derivative: func(x, _ float32) float32 { return float32(-math.Sin(float64(x))) },
}

// Scale is x * factor, a constant.
func (t *Tape) Scale(x Value, factor float32) (Value, error) {
	n, out, err := t.record("scale", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	n.allocate(src.Shape...)
	n.scalars[0], n.back = factor, backScale
	for i, v := range src.Data {
		n.value.Data[i] = factor * v
	}
	return out, nil
}

func backScale(n *node) { addTo(n.in[0].grad.Data, n.grad.Data, n.scalars[0], 1) }

// Clip limits every element to low..high; outside, the derivative is 0.
func (t *Tape) Clip(x Value, low, high float32) (Value, error) {
	n, out, err := t.record("clip", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	n.allocate(src.Shape...)
	n.scalars, n.back = [2]float32{low, high}, backClip
	for i, v := range src.Data {
		n.value.Data[i] = min(max(v, low), high)
	}
	return out, nil
}

func backClip(n *node) {
	low, high := n.scalars[0], n.scalars[1]
	dx, x := n.in[0].grad.Data, n.in[0].value.Data
	for i, g := range n.grad.Data {
		if x[i] >= low && x[i] <= high {
			dx[i] += g
		}
	}
}
