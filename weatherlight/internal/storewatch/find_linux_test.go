package storewatch

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhoCannotStoreIsNotFound(t *testing.T) {
	for _, manner := range []string{"read", "copy"} {
		t.Run(manner, func(t *testing.T) {
			path, file := shared(t)
			newWriter(t, path, manner)
			if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
				t.Errorf("error = %v", err)
			}
		})
	}
	t.Run("unmapped", func(t *testing.T) {
		path, file := shared(t)
		newWriter(t, path, "write").does("unmap")
		if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("ourselves", func(t *testing.T) {
		path, file := shared(t)
		own, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		data, err := unix.Mmap(int(own.Fd()), 0, 64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Munmap(data); err != nil {
				t.Error(err)
			}
		}()
		if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
			t.Errorf("error = %v", err)
		}
	})
}

func TestProcessThatIsHiddenAndMayWriteIsNotOverlooked(t *testing.T) {
	const user, other = 1000, 1001
	for _, test := range []struct {
		name string
		file File
		user uint32
		want bool
	}{
		{"its own file", File{Owner: user, Mode: 0o600}, user, true},
		{"a file of somebody else", File{Owner: other, Mode: 0o600}, user, false},
		{"a file that its group may write to", File{Owner: other, Mode: 0o660}, user, true},
		{"a file that all may write to", File{Owner: other, Mode: 0o666}, user, true},
		{"root", File{Owner: 0, Mode: 0o666}, 0, false},
	} {
		if got := test.file.writable(test.user); got != test.want {
			t.Errorf("%s: may write %v, want %v", test.name, got, test.want)
		}
	}
	if err := hidden(os.Getpid(), File{Owner: uint32(os.Geteuid()) + 1, Mode: 0o600}, unix.EACCES); err != nil {
		t.Errorf("somebody who may not write: %v", err)
	}
}

func TestNameOfAFileFoolsNobody(t *testing.T) {
	file := File{Device: unix.Mkdev(0, 0x1a), Inode: 77}
	for _, test := range []struct {
		name, line string
		want       []uint64
	}{
		{"shared and writable", "7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77                         /dev/shm/signal", []uint64{0x7f5e8a000000}},
		{"removed", "7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77                         /dev/shm/signal (deleted)", []uint64{0x7f5e8a000000}},
		{"writable by another name", "1000-2000 -w-s 00000000 00:1a 77 /a", []uint64{0x1000}},
		{"not writable", "1000-2000 r--s 00000000 00:1a 77 /a", nil},
		{"private", "1000-2000 rw-p 00000000 00:1a 77 /a", nil},
		{"not its start", "1000-2000 rw-s 00001000 00:1a 77 /a", nil},
		{"another file", "1000-2000 rw-s 00000000 00:1a 777 /a", nil},
		{"another device", "1000-2000 rw-s 00000000 00:1b 77 /a", nil},
		{"a name like a mapping", "1000-2000 rw-s 00000000 00:1a 78 /3000-4000 rw-s 00000000 00:1a 77 /a", nil},
		{"a line break in a name", `1000-2000 rw-s 00000000 00:1a 78 /a\0121000-2000 rw-s 00000000 00:1a 77 /a`, nil},
		{"nothing", "", nil},
		{"half a line", "1000-2000 r", nil},
	} {
		got, _, err := findPlaces(strings.NewReader(test.line+"\n"), file)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %x, %v, want %x", test.name, got, err, test.want)
		}
	}
}

func FuzzFindPlaces(f *testing.F) {
	f.Add("7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77 /dev/shm/signal\n")
	f.Add("zz-1 rw-s 00000000 00:1a 77 /a\n")
	f.Fuzz(func(t *testing.T, maps string) {
		places, lines, _ := findPlaces(strings.NewReader(maps), File{Device: unix.Mkdev(0, 0x1a), Inode: 77})
		if len(places) > lines {
			t.Errorf("%d places in %d lines", len(places), lines)
		}
	})
}
