package tamiyo

import (
	"strconv"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

func rejectedPacket(rejected *RejectedError) *leyline.TelemetryPacket {
	packet := telemetry.New(source, "tamiyo-policy-update-error").
		Level(levelWarning).
		Health(healthDegraded, rejected.Reason)
	return withEvents(packet, event("policy_update_rejected", levelWarning,
		"reason", rejected.Reason, "policy_id", rejected.PolicyID))
}

func acceptedPacket(policy Policy) *leyline.TelemetryPacket {
	if policy.Digest == "" {
		return policyPacket("policy_update_announced", policy)
	}
	return policyPacket("policy_update_applied", policy)
}

func policyPacket(name string, policy Policy) *leyline.TelemetryPacket {
	packet := telemetry.New(source, "tamiyo-policy-update").Health(healthHealthy, name)
	return withEvents(packet, event(name, levelInfo,
		"policy_id", policy.Update.GetPolicyId(),
		"tamiyo_policy_version", policy.Update.GetTamiyoPolicyVersion(),
		"digest", policy.Digest,
		"bytes", strconv.Itoa(policy.Size)))
}
