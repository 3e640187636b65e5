package urza

import (
	"context"
	"fmt"
	"io"

	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

// extensionPayload is that of what lies beside the kernels and is none.
const extensionPayload = ".payload"

// SavePayload keeps content that is no kernel beside the kernels, for messages that are
// too large for the bus to refer to it, and returns its hex SHA-256. No row refers to it,
// so that it goes when Config.Retention has passed. Errors: those of the store.
func (l *Library) SavePayload(ctx context.Context, content []byte) (sum string, err error) {
	sum = artifact.Checksum(content)
	if err = l.lookup.open(); err == nil {
		err = l.store.Put(ctx, l.store.Ref(sum, extensionPayload), sum, content)
	}
	if err != nil {
		return "", fmt.Errorf("urza: save payload: %w", err)
	}
	return sum, nil
}

// OpenPayload opens what SavePayload has kept, in this process or another. What is read
// is checked on the way, as by OpenArtifact. Errors: ErrNotFound for what is no checksum,
// ErrArtifactMissing, ErrUntrusted, ErrUnreadable, ErrUnavailable.
func (l *Library) OpenPayload(ctx context.Context, sum string) (io.ReadCloser, error) {
	if !checksumForm.MatchString(sum) {
		return nil, fmt.Errorf("urza: open payload %.64q: %w", sum, ErrNotFound)
	}
	err := l.lookup.open()
	if err == nil {
		var content io.ReadCloser
		if content, err = l.store.Open(ctx, l.store.Ref(sum, extensionPayload), sum); err == nil {
			return content, nil
		}
	}
	return nil, fmt.Errorf("urza: open payload %s: %w", sum, err)
}
