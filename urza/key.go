package urza

// key names one kernel: a blueprint's own, or one of its variants, by the key that
// trainer.Variant gives it.
type key struct{ id, variant string }

// String is for people.
func (k key) String() string {
	if k.variant == "" {
		return k.id
	}
	return k.id + " (" + k.variant + ")"
}

// unique is a text that no other key has: no id or variant in use holds a zero byte.
func (k key) unique() string { return k.id + "\x00" + k.variant }

func (r row) key() key { return key{r.id, r.variant} }
