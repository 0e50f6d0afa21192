// A name that nothing has in, with the names that were meant to be chosen from; the nearest of them out.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// nearest is the candidate that `name` was most likely meant to be; "" when none is near enough to say so.
// Near is an edit distance of at most half of the longer one; the smallest wins, the first of equals.
func nearest(name string, candidates []string) string {
	best, least := "", len(name)
	for _, candidate := range candidates {
		distance := levenshtein.ComputeDistance(plain(name), plain(candidate))
		near := 2*distance <= max(len(plain(name)), len(plain(candidate)))
		if candidate != name && near && distance < least {
			best, least = candidate, distance
		}
	}
	return best
}

// plain is a name without case and quotation marks, which say nothing about nearness.
func plain(name string) string {
	return strings.ToLower(strings.Trim(name, `"`))
}

// misspelt tells whether a name differs from a candidate by so little that it can hardly be meant.
func misspelt(name string, candidates []string) bool {
	near := nearest(name, candidates)
	distance := levenshtein.ComputeDistance(name, near)
	return near != "" && distance <= 2 && len(name) > 3
}

// didYouMean is the hint about a name: the nearest candidate after `prefix`, else all of them where that is short.
func didYouMean(prefix, name string, candidates []string) string {
	slices.Sort(candidates)
	candidates = slices.Compact(candidates)
	if near := nearest(name, candidates); near != "" {
		return fmt.Sprintf("did you mean %s%s?", prefix, near)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	return "one of " + strings.Join(candidates, ", ")
}

// quoted puts every name between quotation marks, as a constant is written in Rego.
func quoted(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, fmt.Sprintf("%q", name))
	}
	return out
}
