package journal

import "github.com/esper-lite/weatherlight/tamiyo/policy/accepted"

// Attributes of the envelope of an update that brings no payload and says what is to be
// done with one that was taken in.
const (
	attributeAction = "policy_action"
	attributeTarget = "policy_sha256"
)

// Action is what is to be done with a policy that was taken in.
type Action string

// The actions. A policy is activated only from the shadow.
const (
	ToShadow Action = "shadow"   // it is asked, and told of, beside what decides
	Activate Action = "activate" // it decides
	// ActivateUncompared has it decide though no run was decided beside it in the shadow.
	ActivateUncompared Action = "activate_uncompared"
	RollBack           Action = "rollback" // what decided before decides again
)

// Attributes are those that the envelope of an action needs; digest is the policy's, none
// with RollBack.
func (a Action) Attributes(digest string) map[string]string {
	attributes := map[string]string{attributeAction: string(a)}
	if digest != "" {
		attributes[attributeTarget] = digest
	}
	return attributes
}

// Force says which policies are in force. Its values are replaced, never changed in place.
type Force struct {
	Active *accepted.Update   `json:"active,omitempty"` // decides; nil: the rules alone
	Shadow *accepted.Update   `json:"shadow,omitempty"` // is asked beside it
	Before []*accepted.Update `json:"before,omitempty"` // decided before, the last one first; nil is the rules alone
	At     accepted.Position  `json:"at"`               // of the last action
}

// Newer says whether an action lies after another.
func (f *Force) Newer(than *Force) bool {
	return f != nil && (than == nil || f.At.Compare(than.At) > 0)
}

// Policies are all that a rollback may bring back, too.
func (f *Force) Policies() []*accepted.Update {
	if f == nil {
		return nil
	}
	return append([]*accepted.Update{f.Active, f.Shadow}, f.Before...)
}

// ReadAction reads from the attributes of an envelope which action it asks for, and of which
// policy it speaks.
func ReadAction(attributes map[string]string) (action Action, digest string, asked bool) {
	text, asked := attributes[attributeAction]
	return Action(text), attributes[attributeTarget], asked
}
