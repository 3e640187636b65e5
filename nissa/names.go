package nissa

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	maxAttributes = 16  // labels of one series beside its source
	maxLabelValue = 128 // bytes
	maxSeriesName = 200 // bytes
)

// aliases are the metric names whose series carried another name before.
var aliases = map[string]string{
	"tolaria.train.graph_enabled": "tolaria_graph_enabled",
	"simic.training.iterations":   "esper_simic_training_iterations_total",
}

// coveragePrefixes begin the metrics that name a feature in their last part.
var coveragePrefixes = []string{"tamiyo.gnn.feature_coverage.", "tamiyo.gnn.coverage."}

const coverageSeries = "tamiyo_gnn_feature_coverage_by_type"

// label is one label of a series.
type label struct{ name, value string }

// seriesOf returns the Prometheus name and labels of a metric point: its
// source first, which of several senders of it if that is told, then its attributes by name.
func seriesOf(source, sender, metric string, attributes map[string]string) (string, []label) {
	labels := []label{{"source", labelValue(source)}}
	if sender != "" {
		labels = append(labels, label{"sender", labelValue(sender)})
	}
	if feature, is := featureOf(metric); is {
		labels = append(labels, label{"feature", labelValue(feature)})
		return coverageSeries, appendAttributes(labels, attributes)
	}
	name, found := aliases[metric]
	if !found {
		name = seriesName(metric)
	}
	return name, appendAttributes(labels, attributes)
}

// featureOf is the feature whose coverage a metric is, if it is one.
func featureOf(metric string) (feature string, is bool) {
	for _, prefix := range coveragePrefixes {
		if feature, is = strings.CutPrefix(metric, prefix); is {
			return feature, true
		}
	}
	return "", false
}

// appendAttributes adds attributes as labels. Names that fall together after
// cleaning keep the first by order; names already taken move aside.
func appendAttributes(labels []label, attributes map[string]string) []label {
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	fixed := len(labels)
	for _, name := range names[:min(len(names), maxAttributes)] {
		cleaned := labelName(name)
		if cleaned != "" && (hasLabel(labels[:fixed], cleaned) || slices.Contains(reservedLabels, cleaned)) {
			cleaned = "attribute_" + cleaned
		}
		if cleaned != "" && !hasLabel(labels, cleaned) {
			labels = append(labels, label{cleaned, labelValue(attributes[name])})
		}
	}
	slices.SortFunc(labels[fixed:], func(a, b label) int { return strings.Compare(a.name, b.name) })
	return labels
}

func hasLabel(labels []label, name string) bool {
	return slices.ContainsFunc(labels, func(l label) bool { return l.name == name })
}

// seriesName turns a metric name into a Prometheus one; empty when nothing of
// it is left or when it is too long to be a name.
func seriesName(metric string) string {
	if len(metric) > maxSeriesName {
		return ""
	}
	return identifier(metric)
}

// labelName is identifier without the leading underscores that Prometheus
// keeps for itself.
func labelName(attribute string) string {
	if len(attribute) > maxLabelValue {
		return ""
	}
	return strings.TrimLeft(identifier(attribute), "_")
}

func identifier(text string) string {
	cleaned := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, text)
	if strings.Trim(cleaned, "_") == "" {
		return ""
	}
	if cleaned[0] >= '0' && cleaned[0] <= '9' {
		return "n" + cleaned
	}
	return cleaned
}

func labelValue(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD") // which keeps labels apart
	if len(text) <= maxLabelValue {
		return text
	}
	end := maxLabelValue
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// Nobody's metric may have the name of one of the service's own series, or of one that
// Prometheus makes itself: alerts look at those.
var (
	reservedPrefixes = []string{"nissa_", "go_", "process_", "promhttp_", "scrape_"}
	reservedNames    = []string{"up", "ALERTS", "ALERTS_FOR_STATE"}
	// reservedLabels make a series the part of a histogram or of a summary.
	reservedLabels = []string{"le", "quantile"}
)

// namesOf are all under which a series of our own is shown, or could be by another format of
// Prometheus: those of its parts, and that of its family.
func namesOf(row telemetry.Series) []string {
	family := strings.TrimSuffix(row.Name, "_total")
	names := []string{row.Name, family}
	for _, part := range []string{"_total", "_created", "_bucket", "_count", "_sum"} {
		names = append(names, family+part)
	}
	return names
}

func reserved(name string, own map[string]struct{}) bool {
	for _, prefix := range reservedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	_, taken := own[name]
	return taken || slices.Contains(reservedNames, name)
}
