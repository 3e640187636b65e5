package terminal

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// terminalWidth is how many columns a terminal has; 0 is none that says so.
func terminalWidth(file *os.File) int {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// Is says whether a person at a terminal sees what is written there.
func Is(out io.Writer) bool {
	file, is := out.(*os.File)
	return is && terminalWidth(file) > 0
}
