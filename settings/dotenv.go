package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/joho/godotenv"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// maxEnvFile bounds a .env file; a bigger one is some other file.
const maxEnvFile = 64 << 10

// readEnvFile returns the assignments of a .env file; a missing file has none.
func readEnvFile(path string) (map[string]string, error) {
	text, err := regularfile.Read(path, maxEnvFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, regularfile.ErrNotRegular) && isNull(path) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseEnvFile(string(text))
}

// isNull says that a path is the null device, the customary name of an empty file.
func isNull(path string) bool {
	info, err := os.Stat(path)
	null, nerr := os.Stat(os.DevNull)
	return err == nil && nerr == nil && os.SameFile(info, null)
}

func parseEnvFile(text string) (map[string]string, error) {
	values, err := godotenv.Unmarshal(text)
	if _, nameless := values[""]; err == nil && !nameless {
		return values, nil
	}
	// The parser's own words repeat the rest of the file, secret included.
	return nil, fmt.Errorf("line %d is not KEY=value, or its quote is not closed", faultyLine(text))
}

// faultyLine returns the number of the line that starts the first statement
// that no continuation completes.
func faultyLine(text string) int {
	lines := strings.SplitAfter(text, "\n")
	start := 0
	for end := range lines {
		values, err := godotenv.Unmarshal(strings.Join(lines[start:end+1], ""))
		if _, nameless := values[""]; err == nil && !nameless {
			start = end + 1
		}
	}
	return min(start+1, len(lines))
}
