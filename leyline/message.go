// Package leyline is the contract shared with every other Esper process: the generated
// messages and enumerations, of which BusEnvelope, SystemStatePacket and AdaptationCommand
// carry most, and what follows from them alone, such as which message a type of the bus
// stands for. It is generated from proto/esper/leyline/v1 (make gen); everything but
// package supervise speaks in its types.
package leyline

import "google.golang.org/protobuf/proto"

// NewMessage returns an empty payload message of bus type t, or nil when t is
// unspecified or unknown. All thirteen specified types have a payload message.
func NewMessage(t BusMessageType) proto.Message {
	switch t {
	case BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:
		return new(SystemStatePacket)
	case BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND:
		return new(AdaptationCommand)
	case BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT:
		return new(FieldReport)
	case BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY:
		return new(TelemetryPacket)
	case BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE:
		return new(PolicyUpdate)
	case BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST:
		return new(KernelPrefetchRequest)
	case BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY:
		return new(KernelArtifactReady)
	case BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR:
		return new(KernelArtifactError)
	case BusMessageType_BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE:
		return new(KernelCatalogUpdate)
	case BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL:
		return new(EmergencySignal)
	case BusMessageType_BUS_MESSAGE_TYPE_BSDS_ISSUED:
		return new(BSDSIssued)
	case BusMessageType_BUS_MESSAGE_TYPE_BSDS_FAILED:
		return new(BSDSFailed)
	case BusMessageType_BUS_MESSAGE_TYPE_BENCHMARK_REPORT:
		return new(BenchmarkReport)
	default:
		return nil
	}
}

// TypeOf returns the bus type whose payload message is m, or UNSPECIFIED when
// m never travels as a payload of its own.
func TypeOf(m proto.Message) BusMessageType {
	switch m.(type) {
	case *SystemStatePacket:
		return BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE
	case *AdaptationCommand:
		return BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND
	case *FieldReport:
		return BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT
	case *TelemetryPacket:
		return BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY
	case *PolicyUpdate:
		return BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE
	case *KernelPrefetchRequest:
		return BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST
	case *KernelArtifactReady:
		return BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY
	case *KernelArtifactError:
		return BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR
	case *KernelCatalogUpdate:
		return BusMessageType_BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE
	case *EmergencySignal:
		return BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL
	case *BSDSIssued:
		return BusMessageType_BUS_MESSAGE_TYPE_BSDS_ISSUED
	case *BSDSFailed:
		return BusMessageType_BUS_MESSAGE_TYPE_BSDS_FAILED
	case *BenchmarkReport:
		return BusMessageType_BUS_MESSAGE_TYPE_BENCHMARK_REPORT
	default:
		return BusMessageType_BUS_MESSAGE_TYPE_UNSPECIFIED
	}
}
