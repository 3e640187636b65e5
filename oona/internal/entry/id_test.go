package entry

import (
	"testing"

	"pgregory.net/rapid"
)

func TestEntryIDsAreOrderedLikeRedisOrdersThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := ID{rapid.Uint64().Draw(t, "ams"), rapid.Uint64().Draw(t, "aseq")}
		b := ID{rapid.Uint64().Draw(t, "bms"), rapid.Uint64().Draw(t, "bseq")}
		parsed, err := ParseID(a.String())
		if err != nil || parsed != a {
			t.Fatalf("%v came back as %v, %v", a, parsed, err)
		}
		smaller := a.MS < b.MS || a.MS == b.MS && a.Seq <= b.Seq
		if (a.Min(b) == a) != smaller {
			t.Fatalf("min(%v, %v) = %v", a, b, a.Min(b))
		}
	})
}
