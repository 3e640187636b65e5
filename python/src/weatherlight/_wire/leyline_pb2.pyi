from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

BLUEPRINT_TIER_EXPERIMENTAL: BlueprintTier
BLUEPRINT_TIER_HIGH_RISK: BlueprintTier
BLUEPRINT_TIER_SAFE: BlueprintTier
BLUEPRINT_TIER_UNSPECIFIED: BlueprintTier
BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: BusMessageType
BUS_MESSAGE_TYPE_BENCHMARK_REPORT: BusMessageType
BUS_MESSAGE_TYPE_BSDS_FAILED: BusMessageType
BUS_MESSAGE_TYPE_BSDS_ISSUED: BusMessageType
BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL: BusMessageType
BUS_MESSAGE_TYPE_FIELD_REPORT: BusMessageType
BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE: BusMessageType
BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR: BusMessageType
BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY: BusMessageType
BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST: BusMessageType
BUS_MESSAGE_TYPE_POLICY_UPDATE: BusMessageType
BUS_MESSAGE_TYPE_SYSTEM_STATE: BusMessageType
BUS_MESSAGE_TYPE_TELEMETRY: BusMessageType
BUS_MESSAGE_TYPE_UNSPECIFIED: BusMessageType
CIRCUIT_STATE_CLOSED: CircuitBreakerState
CIRCUIT_STATE_HALF_OPEN: CircuitBreakerState
CIRCUIT_STATE_OPEN: CircuitBreakerState
CIRCUIT_STATE_UNKNOWN: CircuitBreakerState
COMMAND_CIRCUIT_BREAKER: CommandType
COMMAND_EMERGENCY: CommandType
COMMAND_OPTIMIZER: CommandType
COMMAND_PAUSE: CommandType
COMMAND_ROLLBACK: CommandType
COMMAND_SEED: CommandType
COMMAND_STRUCTURAL_PRUNING: CommandType
COMMAND_UNKNOWN: CommandType
DELIVERY_GUARANTEE_AT_LEAST_ONCE: DeliveryGuarantee
DELIVERY_GUARANTEE_AT_MOST_ONCE: DeliveryGuarantee
DELIVERY_GUARANTEE_EXACTLY_ONCE: DeliveryGuarantee
DELIVERY_GUARANTEE_UNKNOWN: DeliveryGuarantee
DESCRIPTOR: _descriptor.FileDescriptor
EMERGENCY_LEVEL_CONSERVATIVE: EmergencyLevel
EMERGENCY_LEVEL_ELEVATED: EmergencyLevel
EMERGENCY_LEVEL_HALT: EmergencyLevel
EMERGENCY_LEVEL_NOTICE: EmergencyLevel
EMERGENCY_LEVEL_UNSPECIFIED: EmergencyLevel
FIELD_REPORT_OUTCOME_ABORTED: FieldReportOutcome
FIELD_REPORT_OUTCOME_NEUTRAL: FieldReportOutcome
FIELD_REPORT_OUTCOME_REGRESSION: FieldReportOutcome
FIELD_REPORT_OUTCOME_SUCCESS: FieldReportOutcome
FIELD_REPORT_OUTCOME_UNSPECIFIED: FieldReportOutcome
HANDLING_CLASS_QUARANTINE: HandlingClass
HANDLING_CLASS_RESTRICTED: HandlingClass
HANDLING_CLASS_STANDARD: HandlingClass
HANDLING_CLASS_UNSPECIFIED: HandlingClass
HAZARD_BAND_CRITICAL: HazardBand
HAZARD_BAND_HIGH: HazardBand
HAZARD_BAND_LOW: HazardBand
HAZARD_BAND_MEDIUM: HazardBand
HAZARD_BAND_UNSPECIFIED: HazardBand
HEALTH_STATUS_CRITICAL: HealthStatus
HEALTH_STATUS_DEGRADED: HealthStatus
HEALTH_STATUS_HEALTHY: HealthStatus
HEALTH_STATUS_UNHEALTHY: HealthStatus
HEALTH_STATUS_UNKNOWN: HealthStatus
MESSAGE_PRIORITY_CRITICAL: MessagePriority
MESSAGE_PRIORITY_HIGH: MessagePriority
MESSAGE_PRIORITY_LOW: MessagePriority
MESSAGE_PRIORITY_NORMAL: MessagePriority
MESSAGE_PRIORITY_UNSPECIFIED: MessagePriority
PROVENANCE_CURATED: Provenance
PROVENANCE_EXTERNAL: Provenance
PROVENANCE_HEURISTIC: Provenance
PROVENANCE_UNSPECIFIED: Provenance
PROVENANCE_URABRASK: Provenance
RESOURCE_PROFILE_CPU: ResourceProfile
RESOURCE_PROFILE_GPU: ResourceProfile
RESOURCE_PROFILE_IO_HEAVY: ResourceProfile
RESOURCE_PROFILE_MEMORY_HEAVY: ResourceProfile
RESOURCE_PROFILE_MIXED: ResourceProfile
RESOURCE_PROFILE_UNSPECIFIED: ResourceProfile
SEED_GATE_G0_SANITY: SeedLifecycleGate
SEED_GATE_G1_GRADIENT_HEALTH: SeedLifecycleGate
SEED_GATE_G2_STABILITY: SeedLifecycleGate
SEED_GATE_G3_INTERFACE: SeedLifecycleGate
SEED_GATE_G4_SYSTEM_IMPACT: SeedLifecycleGate
SEED_GATE_G5_RESET: SeedLifecycleGate
SEED_GATE_UNKNOWN: SeedLifecycleGate
SEED_OP_CANCEL: SeedOperation
SEED_OP_CULL: SeedOperation
SEED_OP_EVALUATE: SeedOperation
SEED_OP_FINE_TUNE: SeedOperation
SEED_OP_FOSSILIZE: SeedOperation
SEED_OP_GERMINATE: SeedOperation
SEED_OP_STABILIZE: SeedOperation
SEED_OP_START_GRAFTING: SeedOperation
SEED_OP_START_TRAINING: SeedOperation
SEED_OP_UNKNOWN: SeedOperation
SEED_STAGE_BLENDING: SeedLifecycleStage
SEED_STAGE_CULLED: SeedLifecycleStage
SEED_STAGE_DORMANT: SeedLifecycleStage
SEED_STAGE_EMBARGOED: SeedLifecycleStage
SEED_STAGE_FOSSILIZED: SeedLifecycleStage
SEED_STAGE_GERMINATED: SeedLifecycleStage
SEED_STAGE_PROBATIONARY: SeedLifecycleStage
SEED_STAGE_RESETTING: SeedLifecycleStage
SEED_STAGE_SHADOWING: SeedLifecycleStage
SEED_STAGE_TERMINATED: SeedLifecycleStage
SEED_STAGE_TRAINING: SeedLifecycleStage
SEED_STAGE_UNKNOWN: SeedLifecycleStage
TELEMETRY_LEVEL_CRITICAL: TelemetryLevel
TELEMETRY_LEVEL_ERROR: TelemetryLevel
TELEMETRY_LEVEL_INFO: TelemetryLevel
TELEMETRY_LEVEL_UNSPECIFIED: TelemetryLevel
TELEMETRY_LEVEL_WARNING: TelemetryLevel

class AdaptationCommand(_message.Message):
    __slots__ = ["annotations", "circuit_breaker", "command_id", "command_type", "execution_deadline_ms", "issued_at", "issued_by", "optimizer_adjustment", "rollback_payload", "seed_operation", "target_seed_id", "version"]
    class AnnotationsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    CIRCUIT_BREAKER_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_ADJUSTMENT_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SEED_OPERATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_SEED_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    annotations: _containers.ScalarMap[str, str]
    circuit_breaker: CommandCircuitBreaker
    command_id: str
    command_type: CommandType
    execution_deadline_ms: int
    issued_at: _timestamp_pb2.Timestamp
    issued_by: str
    optimizer_adjustment: CommandOptimizerAdjustment
    rollback_payload: _struct_pb2.Struct
    seed_operation: CommandSeedOperation
    target_seed_id: str
    version: int
    def __init__(self, version: _Optional[int] = ..., command_id: _Optional[str] = ..., command_type: _Optional[_Union[CommandType, str]] = ..., target_seed_id: _Optional[str] = ..., execution_deadline_ms: _Optional[int] = ..., issued_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., issued_by: _Optional[str] = ..., seed_operation: _Optional[_Union[CommandSeedOperation, _Mapping]] = ..., optimizer_adjustment: _Optional[_Union[CommandOptimizerAdjustment, _Mapping]] = ..., circuit_breaker: _Optional[_Union[CommandCircuitBreaker, _Mapping]] = ..., rollback_payload: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., annotations: _Optional[_Mapping[str, str]] = ...) -> None: ...

class BSDS(_message.Message):
    __slots__ = ["blueprint_id", "handling_class", "hazard_band", "issued_at", "provenance", "recommendation", "resource_profile", "risk_score", "version"]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLING_CLASS_FIELD_NUMBER: _ClassVar[int]
    HAZARD_BAND_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_PROFILE_FIELD_NUMBER: _ClassVar[int]
    RISK_SCORE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    handling_class: HandlingClass
    hazard_band: HazardBand
    issued_at: _timestamp_pb2.Timestamp
    provenance: Provenance
    recommendation: str
    resource_profile: ResourceProfile
    risk_score: float
    version: int
    def __init__(self, version: _Optional[int] = ..., blueprint_id: _Optional[str] = ..., risk_score: _Optional[float] = ..., hazard_band: _Optional[_Union[HazardBand, str]] = ..., handling_class: _Optional[_Union[HandlingClass, str]] = ..., resource_profile: _Optional[_Union[ResourceProfile, str]] = ..., recommendation: _Optional[str] = ..., issued_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., provenance: _Optional[_Union[Provenance, str]] = ...) -> None: ...

class BSDSFailed(_message.Message):
    __slots__ = ["blueprint_id", "reason"]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    reason: str
    def __init__(self, blueprint_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class BSDSIssued(_message.Message):
    __slots__ = ["bsds"]
    BSDS_FIELD_NUMBER: _ClassVar[int]
    bsds: BSDS
    def __init__(self, bsds: _Optional[_Union[BSDS, _Mapping]] = ...) -> None: ...

class BenchmarkReport(_message.Message):
    __slots__ = ["benchmark"]
    BENCHMARK_FIELD_NUMBER: _ClassVar[int]
    benchmark: BlueprintBenchmark
    def __init__(self, benchmark: _Optional[_Union[BlueprintBenchmark, _Mapping]] = ...) -> None: ...

class BlueprintBenchmark(_message.Message):
    __slots__ = ["blueprint_id", "device", "profiles", "torch_version", "version"]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    TORCH_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    device: str
    profiles: _containers.RepeatedCompositeFieldContainer[BlueprintBenchmarkProfile]
    torch_version: str
    version: int
    def __init__(self, version: _Optional[int] = ..., blueprint_id: _Optional[str] = ..., profiles: _Optional[_Iterable[_Union[BlueprintBenchmarkProfile, _Mapping]]] = ..., device: _Optional[str] = ..., torch_version: _Optional[str] = ...) -> None: ...

class BlueprintBenchmarkProfile(_message.Message):
    __slots__ = ["name", "p50_latency_ms", "p95_latency_ms", "throughput_samples_per_s"]
    NAME_FIELD_NUMBER: _ClassVar[int]
    P50_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    P95_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    THROUGHPUT_SAMPLES_PER_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    p50_latency_ms: float
    p95_latency_ms: float
    throughput_samples_per_s: float
    def __init__(self, name: _Optional[str] = ..., p50_latency_ms: _Optional[float] = ..., p95_latency_ms: _Optional[float] = ..., throughput_samples_per_s: _Optional[float] = ...) -> None: ...

class BlueprintDescriptor(_message.Message):
    __slots__ = ["allowed_parameters", "approval_required", "blueprint_id", "description", "name", "quarantine_only", "risk", "stage", "tier"]
    class AllowedParametersEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: BlueprintParameterBounds
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[BlueprintParameterBounds, _Mapping]] = ...) -> None: ...
    ALLOWED_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_ONLY_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    allowed_parameters: _containers.MessageMap[str, BlueprintParameterBounds]
    approval_required: bool
    blueprint_id: str
    description: str
    name: str
    quarantine_only: bool
    risk: float
    stage: int
    tier: BlueprintTier
    def __init__(self, blueprint_id: _Optional[str] = ..., name: _Optional[str] = ..., tier: _Optional[_Union[BlueprintTier, str]] = ..., allowed_parameters: _Optional[_Mapping[str, BlueprintParameterBounds]] = ..., risk: _Optional[float] = ..., stage: _Optional[int] = ..., quarantine_only: bool = ..., approval_required: bool = ..., description: _Optional[str] = ...) -> None: ...

class BlueprintParameterBounds(_message.Message):
    __slots__ = ["max_value", "min_value"]
    MAX_VALUE_FIELD_NUMBER: _ClassVar[int]
    MIN_VALUE_FIELD_NUMBER: _ClassVar[int]
    max_value: float
    min_value: float
    def __init__(self, min_value: _Optional[float] = ..., max_value: _Optional[float] = ...) -> None: ...

class BusEnvelope(_message.Message):
    __slots__ = ["attributes", "message_type", "payload"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    message_type: BusMessageType
    payload: bytes
    def __init__(self, message_type: _Optional[_Union[BusMessageType, str]] = ..., payload: _Optional[bytes] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CommandCircuitBreaker(_message.Message):
    __slots__ = ["desired_state", "rationale"]
    DESIRED_STATE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    desired_state: CircuitBreakerState
    rationale: str
    def __init__(self, desired_state: _Optional[_Union[CircuitBreakerState, str]] = ..., rationale: _Optional[str] = ...) -> None: ...

class CommandOptimizerAdjustment(_message.Message):
    __slots__ = ["hyperparameters", "optimizer_id"]
    class HyperparametersEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    HYPERPARAMETERS_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_ID_FIELD_NUMBER: _ClassVar[int]
    hyperparameters: _containers.ScalarMap[str, float]
    optimizer_id: str
    def __init__(self, optimizer_id: _Optional[str] = ..., hyperparameters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class CommandSeedOperation(_message.Message):
    __slots__ = ["blueprint_id", "operation", "parameters"]
    class ParametersEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    operation: SeedOperation
    parameters: _containers.ScalarMap[str, float]
    def __init__(self, operation: _Optional[_Union[SeedOperation, str]] = ..., blueprint_id: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class EmergencySignal(_message.Message):
    __slots__ = ["attributes", "level", "monotonic_time_ms", "origin", "payload_checksum", "reason", "run_id", "triggered_at", "version"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    MONOTONIC_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TRIGGERED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    level: EmergencyLevel
    monotonic_time_ms: int
    origin: str
    payload_checksum: bytes
    reason: str
    run_id: str
    triggered_at: _timestamp_pb2.Timestamp
    version: int
    def __init__(self, version: _Optional[int] = ..., level: _Optional[_Union[EmergencyLevel, str]] = ..., reason: _Optional[str] = ..., origin: _Optional[str] = ..., triggered_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., monotonic_time_ms: _Optional[int] = ..., run_id: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., payload_checksum: _Optional[bytes] = ...) -> None: ...

class EventEnvelope(_message.Message):
    __slots__ = ["content_encoding", "correlation_id", "created_at", "current_attempt", "delivery_guarantee", "event_id", "event_type", "max_attempts", "payload", "payload_type", "priority", "processing_deadline", "routing_keys", "source_subsystem", "ttl"]
    CONTENT_ENCODING_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_GUARANTEE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEYS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SUBSYSTEM_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    content_encoding: str
    correlation_id: str
    created_at: _timestamp_pb2.Timestamp
    current_attempt: int
    delivery_guarantee: DeliveryGuarantee
    event_id: str
    event_type: str
    max_attempts: int
    payload: bytes
    payload_type: str
    priority: MessagePriority
    processing_deadline: _duration_pb2.Duration
    routing_keys: _containers.RepeatedScalarFieldContainer[str]
    source_subsystem: str
    ttl: _duration_pb2.Duration
    def __init__(self, event_id: _Optional[str] = ..., event_type: _Optional[str] = ..., source_subsystem: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., processing_deadline: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., payload: _Optional[bytes] = ..., payload_type: _Optional[str] = ..., content_encoding: _Optional[str] = ..., priority: _Optional[_Union[MessagePriority, str]] = ..., routing_keys: _Optional[_Iterable[str]] = ..., correlation_id: _Optional[str] = ..., delivery_guarantee: _Optional[_Union[DeliveryGuarantee, str]] = ..., max_attempts: _Optional[int] = ..., current_attempt: _Optional[int] = ...) -> None: ...

class FieldReport(_message.Message):
    __slots__ = ["blueprint_id", "command_id", "follow_up_actions", "issued_at", "metrics", "notes", "observation_window_epochs", "outcome", "report_id", "seed_id", "tamiyo_policy_version", "training_run_id", "version"]
    class MetricsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_UP_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_WINDOW_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    TAMIYO_POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    command_id: str
    follow_up_actions: _containers.RepeatedCompositeFieldContainer[MitigationAction]
    issued_at: _timestamp_pb2.Timestamp
    metrics: _containers.ScalarMap[str, float]
    notes: str
    observation_window_epochs: int
    outcome: FieldReportOutcome
    report_id: str
    seed_id: str
    tamiyo_policy_version: str
    training_run_id: str
    version: int
    def __init__(self, version: _Optional[int] = ..., report_id: _Optional[str] = ..., command_id: _Optional[str] = ..., training_run_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., outcome: _Optional[_Union[FieldReportOutcome, str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., observation_window_epochs: _Optional[int] = ..., issued_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., tamiyo_policy_version: _Optional[str] = ..., follow_up_actions: _Optional[_Iterable[_Union[MitigationAction, _Mapping]]] = ..., notes: _Optional[str] = ...) -> None: ...

class HardwareContext(_message.Message):
    __slots__ = ["available_memory_gb", "compute_capability", "device_id", "device_type", "temperature_celsius", "total_memory_gb", "utilization_percent"]
    AVAILABLE_MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_CAPABILITY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    available_memory_gb: float
    compute_capability: int
    device_id: str
    device_type: str
    temperature_celsius: float
    total_memory_gb: float
    utilization_percent: float
    def __init__(self, device_type: _Optional[str] = ..., device_id: _Optional[str] = ..., total_memory_gb: _Optional[float] = ..., available_memory_gb: _Optional[float] = ..., temperature_celsius: _Optional[float] = ..., utilization_percent: _Optional[float] = ..., compute_capability: _Optional[int] = ...) -> None: ...

class KernelArtifactError(_message.Message):
    __slots__ = ["blueprint_id", "reason", "request_id"]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    reason: str
    request_id: str
    def __init__(self, request_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class KernelArtifactReady(_message.Message):
    __slots__ = ["artifact_ref", "blueprint_id", "checksum", "guard_digest", "prewarm_p50_ms", "prewarm_p95_ms", "request_id"]
    ARTIFACT_REF_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    GUARD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PREWARM_P50_MS_FIELD_NUMBER: _ClassVar[int]
    PREWARM_P95_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    artifact_ref: str
    blueprint_id: str
    checksum: str
    guard_digest: str
    prewarm_p50_ms: float
    prewarm_p95_ms: float
    request_id: str
    def __init__(self, request_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., artifact_ref: _Optional[str] = ..., checksum: _Optional[str] = ..., guard_digest: _Optional[str] = ..., prewarm_p50_ms: _Optional[float] = ..., prewarm_p95_ms: _Optional[float] = ...) -> None: ...

class KernelCatalogUpdate(_message.Message):
    __slots__ = ["artifact_ref", "blueprint_id", "checksum", "compile_ms", "guard_digest", "prewarm_ms"]
    ARTIFACT_REF_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    COMPILE_MS_FIELD_NUMBER: _ClassVar[int]
    GUARD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PREWARM_MS_FIELD_NUMBER: _ClassVar[int]
    artifact_ref: str
    blueprint_id: str
    checksum: str
    compile_ms: float
    guard_digest: str
    prewarm_ms: float
    def __init__(self, blueprint_id: _Optional[str] = ..., artifact_ref: _Optional[str] = ..., checksum: _Optional[str] = ..., guard_digest: _Optional[str] = ..., compile_ms: _Optional[float] = ..., prewarm_ms: _Optional[float] = ...) -> None: ...

class KernelPrefetchRequest(_message.Message):
    __slots__ = ["blueprint_id", "issued_at", "request_id", "training_run_id"]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRAINING_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    blueprint_id: str
    issued_at: _timestamp_pb2.Timestamp
    request_id: str
    training_run_id: str
    def __init__(self, request_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., training_run_id: _Optional[str] = ..., issued_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MemoryBudgets(_message.Message):
    __slots__ = ["checkpoints_percent", "emergency_percent", "gradients_percent", "importance_statistics_percent", "model_percent", "morphogenetic_percent", "optimizer_percent", "pruning_metadata_percent", "telemetry_percent"]
    CHECKPOINTS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    EMERGENCY_PERCENT_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_STATISTICS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MORPHOGENETIC_PERCENT_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_PERCENT_FIELD_NUMBER: _ClassVar[int]
    PRUNING_METADATA_PERCENT_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_PERCENT_FIELD_NUMBER: _ClassVar[int]
    checkpoints_percent: float
    emergency_percent: float
    gradients_percent: float
    importance_statistics_percent: float
    model_percent: float
    morphogenetic_percent: float
    optimizer_percent: float
    pruning_metadata_percent: float
    telemetry_percent: float
    def __init__(self, model_percent: _Optional[float] = ..., optimizer_percent: _Optional[float] = ..., gradients_percent: _Optional[float] = ..., checkpoints_percent: _Optional[float] = ..., telemetry_percent: _Optional[float] = ..., morphogenetic_percent: _Optional[float] = ..., emergency_percent: _Optional[float] = ..., importance_statistics_percent: _Optional[float] = ..., pruning_metadata_percent: _Optional[float] = ...) -> None: ...

class MetricPoint(_message.Message):
    __slots__ = ["attributes", "name", "unit", "value"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    name: str
    unit: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class MitigationAction(_message.Message):
    __slots__ = ["action_type", "rationale"]
    ACTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    action_type: str
    rationale: str
    def __init__(self, action_type: _Optional[str] = ..., rationale: _Optional[str] = ...) -> None: ...

class PerformanceBudgets(_message.Message):
    __slots__ = ["adaptation_processing_ms", "breaker_reset_seconds", "breaker_timeout_ms", "checkpoint_analysis_minutes_max", "checkpoint_analysis_minutes_min", "epoch_boundary_ms", "fast_rollback_ms", "full_rollback_seconds", "importance_tracking_overhead_percent", "message_validation_us", "protobuf_serialization_us", "rollback_coordination_seconds", "structured_validation_seconds", "systemstate_assembly_ms", "tamiyo_inference_ms"]
    ADAPTATION_PROCESSING_MS_FIELD_NUMBER: _ClassVar[int]
    BREAKER_RESET_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BREAKER_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ANALYSIS_MINUTES_MAX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ANALYSIS_MINUTES_MIN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_BOUNDARY_MS_FIELD_NUMBER: _ClassVar[int]
    FAST_ROLLBACK_MS_FIELD_NUMBER: _ClassVar[int]
    FULL_ROLLBACK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_TRACKING_OVERHEAD_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_VALIDATION_US_FIELD_NUMBER: _ClassVar[int]
    PROTOBUF_SERIALIZATION_US_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_COORDINATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_VALIDATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SYSTEMSTATE_ASSEMBLY_MS_FIELD_NUMBER: _ClassVar[int]
    TAMIYO_INFERENCE_MS_FIELD_NUMBER: _ClassVar[int]
    adaptation_processing_ms: int
    breaker_reset_seconds: int
    breaker_timeout_ms: int
    checkpoint_analysis_minutes_max: int
    checkpoint_analysis_minutes_min: int
    epoch_boundary_ms: int
    fast_rollback_ms: int
    full_rollback_seconds: int
    importance_tracking_overhead_percent: int
    message_validation_us: int
    protobuf_serialization_us: int
    rollback_coordination_seconds: int
    structured_validation_seconds: int
    systemstate_assembly_ms: int
    tamiyo_inference_ms: int
    def __init__(self, epoch_boundary_ms: _Optional[int] = ..., tamiyo_inference_ms: _Optional[int] = ..., systemstate_assembly_ms: _Optional[int] = ..., adaptation_processing_ms: _Optional[int] = ..., fast_rollback_ms: _Optional[int] = ..., full_rollback_seconds: _Optional[int] = ..., protobuf_serialization_us: _Optional[int] = ..., message_validation_us: _Optional[int] = ..., breaker_timeout_ms: _Optional[int] = ..., breaker_reset_seconds: _Optional[int] = ..., importance_tracking_overhead_percent: _Optional[int] = ..., checkpoint_analysis_minutes_min: _Optional[int] = ..., checkpoint_analysis_minutes_max: _Optional[int] = ..., structured_validation_seconds: _Optional[int] = ..., rollback_coordination_seconds: _Optional[int] = ...) -> None: ...

class PolicyUpdate(_message.Message):
    __slots__ = ["issued_at", "payload", "policy_id", "tamiyo_policy_version", "training_run_id", "version"]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    TAMIYO_POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    issued_at: _timestamp_pb2.Timestamp
    payload: bytes
    policy_id: str
    tamiyo_policy_version: str
    training_run_id: str
    version: int
    def __init__(self, version: _Optional[int] = ..., policy_id: _Optional[str] = ..., training_run_id: _Optional[str] = ..., issued_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., tamiyo_policy_version: _Optional[str] = ..., payload: _Optional[bytes] = ...) -> None: ...

class SeedState(_message.Message):
    __slots__ = ["age_epochs", "gradient_norm", "layer_depth", "learning_rate", "metrics", "risk_score", "seed_id", "stage"]
    class MetricsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AGE_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_NORM_FIELD_NUMBER: _ClassVar[int]
    LAYER_DEPTH_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    RISK_SCORE_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    age_epochs: int
    gradient_norm: float
    layer_depth: int
    learning_rate: float
    metrics: _containers.ScalarMap[str, float]
    risk_score: float
    seed_id: str
    stage: SeedLifecycleStage
    def __init__(self, seed_id: _Optional[str] = ..., stage: _Optional[_Union[SeedLifecycleStage, str]] = ..., gradient_norm: _Optional[float] = ..., learning_rate: _Optional[float] = ..., layer_depth: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., age_epochs: _Optional[int] = ..., risk_score: _Optional[float] = ...) -> None: ...

class SystemHealth(_message.Message):
    __slots__ = ["indicators", "status", "summary"]
    class IndicatorsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INDICATORS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    indicators: _containers.ScalarMap[str, str]
    status: HealthStatus
    summary: str
    def __init__(self, status: _Optional[_Union[HealthStatus, str]] = ..., summary: _Optional[str] = ..., indicators: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SystemLimits(_message.Message):
    __slots__ = ["max_checkpoint_storage_gb", "max_consecutive_pruning_failures", "max_gc_allocations_per_msg", "max_importance_history_days", "max_message_size_bytes", "max_pause_quota", "max_pruning_ratio_percent", "max_queue_depth", "max_retry_attempts", "max_seeds_per_epoch"]
    MAX_CHECKPOINT_STORAGE_GB_FIELD_NUMBER: _ClassVar[int]
    MAX_CONSECUTIVE_PRUNING_FAILURES_FIELD_NUMBER: _ClassVar[int]
    MAX_GC_ALLOCATIONS_PER_MSG_FIELD_NUMBER: _ClassVar[int]
    MAX_IMPORTANCE_HISTORY_DAYS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PAUSE_QUOTA_FIELD_NUMBER: _ClassVar[int]
    MAX_PRUNING_RATIO_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRY_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    MAX_SEEDS_PER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    max_checkpoint_storage_gb: int
    max_consecutive_pruning_failures: int
    max_gc_allocations_per_msg: int
    max_importance_history_days: int
    max_message_size_bytes: int
    max_pause_quota: int
    max_pruning_ratio_percent: int
    max_queue_depth: int
    max_retry_attempts: int
    max_seeds_per_epoch: int
    def __init__(self, max_seeds_per_epoch: _Optional[int] = ..., max_message_size_bytes: _Optional[int] = ..., max_queue_depth: _Optional[int] = ..., max_retry_attempts: _Optional[int] = ..., max_pause_quota: _Optional[int] = ..., max_gc_allocations_per_msg: _Optional[int] = ..., max_pruning_ratio_percent: _Optional[int] = ..., max_consecutive_pruning_failures: _Optional[int] = ..., max_checkpoint_storage_gb: _Optional[int] = ..., max_importance_history_days: _Optional[int] = ...) -> None: ...

class SystemStatePacket(_message.Message):
    __slots__ = ["current_epoch", "experiment_name", "global_step", "hardware_context", "packet_id", "seed_states", "source_subsystem", "timestamp_ns", "training_loss", "training_metrics", "training_run_id", "validation_accuracy", "validation_loss", "version"]
    class TrainingMetricsEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CURRENT_EPOCH_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_STEP_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PACKET_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_STATES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SUBSYSTEM_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_NS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_LOSS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_METRICS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    current_epoch: int
    experiment_name: str
    global_step: int
    hardware_context: HardwareContext
    packet_id: str
    seed_states: _containers.RepeatedCompositeFieldContainer[SeedState]
    source_subsystem: str
    timestamp_ns: int
    training_loss: float
    training_metrics: _containers.ScalarMap[str, float]
    training_run_id: str
    validation_accuracy: float
    validation_loss: float
    version: int
    def __init__(self, version: _Optional[int] = ..., current_epoch: _Optional[int] = ..., validation_accuracy: _Optional[float] = ..., validation_loss: _Optional[float] = ..., timestamp_ns: _Optional[int] = ..., hardware_context: _Optional[_Union[HardwareContext, _Mapping]] = ..., training_metrics: _Optional[_Mapping[str, float]] = ..., seed_states: _Optional[_Iterable[_Union[SeedState, _Mapping]]] = ..., packet_id: _Optional[str] = ..., global_step: _Optional[int] = ..., training_loss: _Optional[float] = ..., source_subsystem: _Optional[str] = ..., training_run_id: _Optional[str] = ..., experiment_name: _Optional[str] = ...) -> None: ...

class TelemetryEvent(_message.Message):
    __slots__ = ["attributes", "description", "event_id", "level"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    description: str
    event_id: str
    level: TelemetryLevel
    def __init__(self, event_id: _Optional[str] = ..., description: _Optional[str] = ..., level: _Optional[_Union[TelemetryLevel, str]] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TelemetryPacket(_message.Message):
    __slots__ = ["events", "level", "metrics", "packet_id", "source_subsystem", "spans", "system_health", "timestamp"]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PACKET_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SUBSYSTEM_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_HEALTH_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[TelemetryEvent]
    level: TelemetryLevel
    metrics: _containers.RepeatedCompositeFieldContainer[MetricPoint]
    packet_id: str
    source_subsystem: str
    spans: _containers.RepeatedCompositeFieldContainer[TraceSpan]
    system_health: SystemHealth
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, packet_id: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., source_subsystem: _Optional[str] = ..., level: _Optional[_Union[TelemetryLevel, str]] = ..., metrics: _Optional[_Iterable[_Union[MetricPoint, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[TelemetryEvent, _Mapping]]] = ..., spans: _Optional[_Iterable[_Union[TraceSpan, _Mapping]]] = ..., system_health: _Optional[_Union[SystemHealth, _Mapping]] = ...) -> None: ...

class TraceSpan(_message.Message):
    __slots__ = ["attributes", "end_time", "name", "parent_span_id", "span_id", "start_time"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    attributes: _containers.ScalarMap[str, str]
    end_time: _timestamp_pb2.Timestamp
    name: str
    parent_span_id: str
    span_id: str
    start_time: _timestamp_pb2.Timestamp
    def __init__(self, span_id: _Optional[str] = ..., parent_span_id: _Optional[str] = ..., name: _Optional[str] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SeedLifecycleStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class SeedLifecycleGate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class HealthStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class CircuitBreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class CommandType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class SeedOperation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class MessagePriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class DeliveryGuarantee(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class TelemetryLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class EmergencyLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class FieldReportOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class BlueprintTier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class BusMessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class HazardBand(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class HandlingClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class ResourceProfile(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Provenance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
