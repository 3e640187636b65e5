package faultproxy

// Silent is how many open connections have lost bytes.
func (p *Proxy) Silent() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if l.silent.Load() {
			n++
		}
	}
	return n
}
