package process

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWhatCannotBeUsedSaysWhatToName(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	other := func(cause error) error { return &fs.PathError{Op: "open", Path: at(".x.123.tmp"), Err: cause} }
	for _, test := range []struct {
		say  func(string, error) error
		path string
		err  error
		want string
	}{
		{CannotRead, at("x"), other(syscall.ENOENT), "cannot read " + at("x") + ": no such file or directory: name a file that is there"},
		{CannotRead, at("x"), other(syscall.EACCES), "cannot read " + at("x") + ": permission denied: name one that you may read"},
		{CannotRead, folder, errors.New(folder + " is not a regular file"), folder + " is not a regular file: name another file"},
		{CannotWrite, at("x"), other(syscall.EROFS), "cannot write " + at("x") + ": read-only file system: name a place that you may write to"},
		{CannotWrite, at("x"), syscall.ENOTDIR, "cannot write " + at("x") + ": not a directory: name another place"},
		{CannotWrite, at("x"), other(syscall.ENOSPC), "cannot write " + at("x") + ": no space left on device: make room there, or name another place"},
		{
			CannotWrite, at("none/x"), &os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.ENOENT},
			"cannot write " + at("none/x") + ": no such file or directory: make the folder " + at("none") + " first",
		},
	} {
		if err := test.say(test.path, test.err); err.Error() != test.want {
			t.Errorf("it says %q, want %q", err, test.want)
		}
	}
}

// Whatever is wrong with the command line of a service, its error says where to look.
func TestFlagsThatAreNotUnderstoodSayWhatToDo(t *testing.T) {
	for _, args := range [][]string{{"-x"}, {"--tell=perhaps"}, {"now"}} {
		flags := flag.NewFlagSet("teller", flag.ContinueOnError)
		flags.Bool("tell", false, "tell it")
		err := ParseFlags(flags, "[--tell]", args, nil)
		if ExitCode(err) != ExitConfiguration || !strings.HasSuffix(err.Error(), ": teller --help says more") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
