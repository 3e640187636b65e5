package kasmina

import "sync"

// requestTable holds the requests that may still be answered. Its owner alone
// changes it; whether a request is in it anybody may ask.
type requestTable struct {
	mu   sync.RWMutex
	byID map[string]issuedRequest
}

func newRequestTable() requestTable { return requestTable{byID: make(map[string]issuedRequest)} }

func (t *requestTable) put(id string, request issuedRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[id] = request
}

func (t *requestTable) remove(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, id)
}

func (t *requestTable) get(id string) (issuedRequest, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	request, ok := t.byID[id]
	return request, ok
}

func (t *requestTable) empty() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byID) == 0
}

// AwaitsAny reports whether any seed of this manager waits for an answer. It says
// so before the request is published.
func (m *Manager) AwaitsAny() bool { return !m.prefetch.requests.empty() }

// Awaits reports whether an answer to a request means anything to a seed of this
// manager. A request is known before it is published, so an answer is never
// mistaken for a stranger's. Answers to others are counted.
func (m *Manager) Awaits(requestID string) bool {
	_, awaited := m.prefetch.requests.get(requestID)
	if !awaited {
		m.prefetch.unknown.Add(1)
	}
	return awaited
}
