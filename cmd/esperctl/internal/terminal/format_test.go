package terminal

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// What is too wide is taken from long names before it is taken from the words beside them.
func TestWhatIsTooWideIsTakenFromNamesBeforeWords(t *testing.T) {
	t.Setenv("COLUMNS", "60")
	long := "seed-" + strings.Repeat("0123456789", 4)
	for name, row := range map[string]struct {
		head, cells string
		whole       []string
	}{
		"the name of a seed": {"SEED BLUEPRINT STAGE SHARE WHY", long + " BP009 fossilized 100.0% fossilized",
			[]string{"BLUEPRINT", "BP009", "fossilized", "100.0%"}},
		"another name": {"RUN STATE EPOCH LOSS HEARD", long + " running 119 0.3863 1s",
			[]string{"STATE", "running", "119", "0.3863", "1s"}},
		"an id is whole": {"ID STAGE RUN HEARD", long + " fossilized a-run-with-a-long-name 1s", []string{long}},
	} {
		var out strings.Builder
		if err := Table(&out, false, func(w io.Writer) {
			fmt.Fprintln(w, strings.ReplaceAll(row.head, " ", "\t"))
			fmt.Fprintln(w, strings.ReplaceAll(row.cells, " ", "\t"))
		}); err != nil {
			t.Fatal(err)
		}
		for _, word := range row.whole {
			if !strings.Contains(out.String(), word) {
				t.Errorf("%s: %q is cut:\n%s", name, word, out.String())
			}
		}
		for line := range strings.Lines(out.String()) {
			if width := len([]rune(strings.TrimSuffix(line, "\n"))); width > 60 {
				t.Errorf("%s: %d columns: %s", name, width, line)
			}
		}
	}
}
