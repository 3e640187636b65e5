package artifact

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// artifactStores are what every test of a store runs on.
var artifactStores = []struct {
	name string
	open func(t *testing.T) backend
}{
	{"folder", func(t *testing.T) backend {
		dir := t.TempDir()
		return &folderStore{dir: dir, owned: []string{dir}, files: Disk{}}
	}},
	{"s3", func(t *testing.T) backend {
		opened, err := openObjects(context.Background(), Config{
			URL: s3test.Start(t).ArtifactURL("lib/v1"), AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(opened.close)
		return opened
	}},
}

func onEachStore(t *testing.T, test func(t *testing.T, kept backend)) {
	for _, each := range artifactStores {
		t.Run(each.name, func(t *testing.T) { test(t, each.open(t)) })
	}
}

func content(t *testing.T, kept backend, ref string) []byte {
	t.Helper()
	file, err := kept.open(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func put(t *testing.T, kept backend, text string) string {
	t.Helper()
	ref := kept.ref(Checksum([]byte(text)), "k.onnx")
	if err := kept.put(context.Background(), ref, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestStoreKeepsWhatItIsGiven(t *testing.T) {
	onEachStore(t, func(t *testing.T, kept backend) {
		ctx := context.Background()
		large := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
		for _, want := range [][]byte{[]byte("kernel"), {0}, large} {
			ref := kept.ref(Checksum(want), "k.pt")
			if err := kept.put(ctx, ref, want); err != nil {
				t.Fatal(err)
			}
			found, err := kept.identify(ctx, ref)
			if err != nil || found.Size != int64(len(want)) || !bytes.Equal(content(t, kept, ref), want) {
				t.Errorf("%d bytes: %+v, %v", len(want), found, err)
			}
			if !strings.HasSuffix(ref, Checksum(want)+".pt") {
				t.Error(ref)
			}
		}
	})
}

func TestStoreSeesAReplacement(t *testing.T) {
	onEachStore(t, func(t *testing.T, kept backend) {
		ctx := context.Background()
		ref := put(t, kept, "old")
		before, err := kept.identify(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := kept.put(ctx, ref, []byte("new")); err != nil {
			t.Fatal(err)
		}
		after, err := kept.identify(ctx, ref)
		if err != nil || after == before || string(content(t, kept, ref)) != "new" {
			t.Errorf("%+v, then %+v, %v", before, after, err)
		}
	})
}

func TestStoreSaysWhatIsNotThere(t *testing.T) {
	onEachStore(t, func(t *testing.T, kept backend) {
		ctx := context.Background()
		ref := kept.ref(Checksum([]byte("never")), "")
		if _, err := kept.identify(ctx, ref); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if file, err := kept.open(ctx, ref); !errors.Is(err, fs.ErrNotExist) {
			t.Error(file, err)
		}
		if err := kept.remove(ctx, ref); err != nil {
			t.Error(err)
		}
		if moved, err := kept.setAside(ctx, ref, "sum"); err == nil {
			t.Error("set aside what is not there: ", moved)
		}
	})
}

func TestStoreSetsAsideWithoutLosing(t *testing.T) {
	onEachStore(t, func(t *testing.T, kept backend) {
		ctx := context.Background()
		ref := put(t, kept, "damaged")
		moved, err := kept.setAside(ctx, ref, "actual")
		if err != nil || !strings.HasSuffix(moved, quarantineFolder+"/"+Checksum([]byte("damaged"))+".onnx.actual") {
			t.Fatal(moved, err)
		}
		if _, err := kept.identify(ctx, ref); !errors.Is(err, fs.ErrNotExist) {
			t.Error("still in place: ", err)
		}
		if string(content(t, kept, moved)) != "damaged" {
			t.Error("evidence lost")
		}
	})
}

func TestStoreListsArtifactsOnly(t *testing.T) {
	onEachStore(t, func(t *testing.T, kept backend) {
		ctx := context.Background()
		want := []string{put(t, kept, "a"), put(t, kept, "b")}
		signature := signatureRef(want[0])
		if err := kept.put(ctx, signature, []byte("signature")); err != nil {
			t.Fatal(err)
		}
		foreign := strings.Replace(want[0], Checksum([]byte("a")), "notes", 1)
		if err := kept.put(ctx, foreign, []byte("notes")); err != nil {
			t.Fatal(err)
		}
		damaged := put(t, kept, "c")
		if _, err := kept.setAside(ctx, damaged, "sum"); err != nil {
			t.Fatal(err)
		}
		var listed []string
		if err := kept.list(ctx, func(ref string) { listed = append(listed, ref) }); err != nil {
			t.Fatal(err)
		}
		want = append(want, signature)
		slices.Sort(want)
		slices.Sort(listed)
		if !slices.Equal(listed, want) {
			t.Errorf("listed %v, want %v", listed, want)
		}
		if err := kept.remove(ctx, want[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.identify(ctx, want[0]); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

func TestImportedFileKeepsItsKind(t *testing.T) {
	tests := []struct{ source, extension string }{
		{"", ".onnx"}, {"/a/BP001.pt", ".pt"}, {"BP001.PT", ".pt"}, {"noext", ".onnx"},
		{"x.tmp", ".onnx"}, {"x./../../etc", ".onnx"}, {"x.with space", ".onnx"}, {"x.averylongextension", ".onnx"},
	}
	for _, test := range tests {
		got := (&folderStore{dir: "/lib"}).ref("sum", test.source)
		if got != "/lib/sum"+test.extension {
			t.Errorf("%q: %s", test.source, got)
		}
	}
}
