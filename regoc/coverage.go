// What the tests reached in; per policy file, how many lines that is and which lines are left, out.
// Files of tests are never counted: every test reaches itself.
//
//go:build js && wasm

package main

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/util"
)

// fileCoverage is one policy file; lines count when they hold a rule's head or an expression.
type fileCoverage struct {
	File    string `json:"file"`
	Lines   int    `json:"lines"`
	Covered int    `json:"covered"`
	// Uncovered are ranges of lines, first and last.
	Uncovered [][2]int `json:"uncovered"`
}

func coverage(covered *cover.Cover, modules map[string]*ast.Module) []fileCoverage {
	policy := policyModules(modules)
	report := covered.Report(policy)
	out := []fileCoverage{}
	for _, path := range util.KeysSorted(policy) {
		file := report.Files[path]
		left := map[int]bool{}
		for _, r := range file.NotCovered {
			for row := r.Start.Row; row <= r.End.Row; row++ {
				left[row] = true
			}
		}
		reached := map[int]bool{}
		for _, r := range file.Covered {
			for row := r.Start.Row; row <= r.End.Row; row++ {
				reached[row] = !left[row]
			}
		}
		hit := 0
		for _, only := range reached {
			if only {
				hit++
			}
		}
		out = append(out, fileCoverage{File: path, Lines: hit + len(left), Covered: hit, Uncovered: ranges(left)})
	}
	return out
}

func ranges(rows map[int]bool) [][2]int {
	out := [][2]int{}
	for _, row := range util.KeysSorted(rows) {
		if last := len(out) - 1; last >= 0 && out[last][1] == row-1 {
			out[last][1] = row
		} else {
			out = append(out, [2]int{row, row})
		}
	}
	return out
}

func policyModules(modules map[string]*ast.Module) map[string]*ast.Module {
	out := map[string]*ast.Module{}
	for path, module := range modules {
		if !isTestFile(path) {
			out[path] = module
		}
	}
	return out
}
