package nissa

import (
	"github.com/esper-lite/weatherlight/nissa/internal/elastic"
)

// openDocuments takes up the documents that wait, if any are to be kept.
func (s *Service) openDocuments() error {
	if s.config.Documents.URL == "" {
		return nil
	}
	documents, err := elastic.Open(elastic.Config{
		URL: s.config.Documents.URL, Dir: s.config.Documents.Dir, MaxBytes: s.config.Documents.MaxBytes,
		Logger: s.config.Logger.With("part", "documents"),
	})
	if err != nil {
		return err
	}
	s.documents = documents
	return s.recorder.registry.Register(documents)
}

func (s *Service) closeDocuments() error {
	if s.documents == nil {
		return nil
	}
	return s.documents.Close()
}
