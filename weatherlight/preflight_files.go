package weatherlight

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
)

func (p *preflight) policies(context.Context) Check {
	return folderCheck("TAMIYO_POLICY_DIR", p.settings.Tamiyo.PolicyDir)
}

func folderCheck(env, dir string) Check {
	if err := tryFolder(env, dir); err != nil {
		return failed(err)
	}
	return passed("%s", dir)
}

func (p *preflight) dataFolder(ctx context.Context) Check {
	dir := p.settings.Weatherlight.DataDir
	if err := tryDataDir(dir); err != nil {
		return failed(err)
	}
	if err := tryDataFiles(ctx, dir); err != nil {
		return failed(err)
	}
	return passed("%s", dir)
}

// tryDataFiles asks whether what an earlier start left in the data folder can be
// read.
func tryDataFiles(ctx context.Context, dir string) error {
	_, err := datadir.ReadName(dir)
	return errors.Join(err,
		outbox.Check(ctx, filepath.Join(dir, outboxFile)))
}
