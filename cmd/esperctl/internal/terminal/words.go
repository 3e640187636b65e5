package terminal

import (
	"fmt"
	"time"
)

// Span is a time of which the two largest units matter at most.
func Span(length time.Duration) string {
	const day = 24 * time.Hour
	switch length = max(length, 0); {
	case length < time.Minute:
		return fmt.Sprintf("%ds", int(length.Seconds()))
	case length < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(length.Minutes()), int(length.Seconds())%60)
	case length < day:
		return fmt.Sprintf("%dh%02dm", int(length.Hours()), int(length.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", length/day, int(length.Hours())%24)
	}
}

// OrDash stands for what is not known.
func OrDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
