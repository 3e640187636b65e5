package trainer

// Keys of SeedState.metrics by which a trainer tells of one grafted seed.
const (
	MetricOrder      = "order"       // number of the last order applied, below 2^24
	MetricAlpha      = "alpha"       // share of the seed in the output, 0 to 1
	MetricAlphaSteps = "alpha_steps" // optimizer steps of the ramp
	MetricPaused     = "paused"      // 1: out of the output

	// Mean loss and accuracy (0 to 1) over the same held-out examples, without
	// the seed and with the seed fully in.
	MetricLossBefore     = "loss_before"
	MetricLossAfter      = "loss_after"
	MetricAccuracyBefore = "accuracy_before"
	MetricAccuracyAfter  = "accuracy_after"
	// Standard error of the mean paired difference of the two losses, and of the
	// two accuracies, and the number of examples they were measured on.
	MetricLossError     = "loss_error"
	MetricAccuracyError = "accuracy_error"
	MetricHeldOut       = "held_out"

	MetricGradientNorm    = "gradient_norm"     // norm over the seed's parameters
	MetricHostGradientMax = "host_gradient_max" // largest gradient at a host parameter through the blend
	MetricGradientCosine  = "gradient_cosine"   // of host loss and seed loss on the shared activations
	MetricSharedParameter = "shared_parameters" // parameters that host and seed have in common
	MetricTrainLoss       = "train_loss"
	MetricForwardFaults   = "forward_faults" // failed forward passes since the last report
	MetricForwardMS       = "forward_ms"     // median of one forward pass of the seed
	MetricForwardSpread   = "forward_spread" // standard deviation over mean of the same
	MetricAttachFailed    = "attach_failed"  // 1: the attach of order MetricOrder failed
	MetricAttachReason    = "attach_reason"  // number of the AttachFailure
)

// Keys of training_metrics.
const (
	MetricHalted           = "halted"             // 1: the training loop was told to stop
	MetricHostMultiplyAdds = "host_multiply_adds" // of one forward pass of one example, without seeds
)

// AttachFailure says, as the number under MetricAttachReason, why a kernel
// could not be attached. Only what is the kernel's own fault speaks against
// its blueprint.
type AttachFailure int

// The reasons of a failed attach.
const (
	AttachUnspecified AttachFailure = iota
	AttachUnreachable               // the bytes could not be had
	AttachMismatch                  // they are not those announced
	AttachUnsigned                  // no signature of a key that this trainer trusts
	AttachInvalid                   // no kernel of the profile
	AttachMisfit                    // its shapes are not the slot's
	AttachFaulty                    // it failed on two examples
	AttachBlend                     // its blend is not understood or does not fit
	AttachNoRoom                    // the trainer has no slot of that name, or no memory for it
)

// Reason is the failure's name in telemetry.
func (f AttachFailure) Reason() string {
	switch f {
	case AttachUnreachable:
		return "artifact_unreadable"
	case AttachMismatch:
		return "checksum_mismatch"
	case AttachUnsigned:
		return "artifact_unsigned"
	case AttachInvalid:
		return "kernel_invalid"
	case AttachMisfit:
		return "kernel_misfit"
	case AttachFaulty:
		return "kernel_faulty"
	case AttachBlend:
		return "blend_refused"
	case AttachNoRoom:
		return "no_such_slot"
	default:
		return "attach_failed"
	}
}

// OfKernel says that the kernel itself is at fault, and not the transport or
// the environment of the trainer.
func (f AttachFailure) OfKernel() bool {
	return f == AttachInvalid || f == AttachMisfit || f == AttachFaulty
}
