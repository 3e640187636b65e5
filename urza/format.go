package urza

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/esper-lite/weatherlight/trainer"
)

// FormatPrototype is the format of the prototype's artifacts: a pickled PyTorch module.
const FormatPrototype = "pt"

// errFormat: there is no artifact of the format that is wanted.
var errFormat = errors.New("format unavailable")

// checkFormat says what is wrong with the only format that a library is to serve; ""
// serves what is there.
func checkFormat(format string) error {
	switch format {
	case "", trainer.FormatONNX, FormatPrototype:
		return nil
	default:
		return fmt.Errorf("format %.32q is neither %q nor %q", format, trainer.FormatONNX, FormatPrototype)
	}
}

// formatOf is the format of an artifact, which the extension of its name tells.
func formatOf(ref string) string {
	return strings.ToLower(strings.TrimPrefix(path.Ext(ref), "."))
}

// wanted is the format that a request must get, "" when any will do.
func (p *Prefetcher) wanted(asked string) (string, error) {
	if err := checkFormat(asked); err != nil {
		return "", fmt.Errorf("%w: %w", errFormat, err)
	}
	if only := p.config.Format; only != "" && asked != "" && asked != only {
		return "", fmt.Errorf("%w: %s alone is served here", errFormat, only)
	}
	return cmp.Or(asked, p.config.Format), nil
}
