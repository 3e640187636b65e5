package weatherlight

// InstancesStatus is who shares the bus.
type InstancesStatus struct {
	Self   string   `json:"self"`
	Leader string   `json:"leader"` // does the single jobs; empty while nobody does
	Live   []string `json:"live"`
}

func (f *fleet) status() *InstancesStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	status := &InstancesStatus{Self: f.self, Leader: f.leader, Live: []string{}}
	for _, member := range f.members {
		status.Live = append(status.Live, member.name)
	}
	return status
}
