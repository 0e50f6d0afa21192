// Policy sources in; the rules that can be asked for alone out, with a WebAssembly module that has each of
// them as an entry point, so that the host can time them on requests. Functions and tests are left out, and so are the
// rules that answer other questions.
//
//go:build js && wasm

package main

import (
	"context"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// ruleResult is one rule, at the first of its definitions; Entrypoint is its name in the WebAssembly module.
type ruleResult struct {
	Entrypoint string `json:"entrypoint"`
	File       string `json:"file"`
	Line       int    `json:"line"`
	Title      string `json:"title,omitempty"`
}

// baseline is one rule more in the module: it costs what every evaluation does, and nothing else.
const baseline = "package leasegate.bench\n\nnothing := true\n"

func rules(ctx context.Context, req request) reply {
	modules, err := checked(req)
	if err != nil {
		return refuse(err)
	}
	found, err := findRules(req.withoutTopics(policyModules(modules)))
	if err != nil {
		return refuse(err)
	}
	modules["leasegate_bench.rego"] = ast.MustParseModule(baseline)
	entrypoints := append(util.KeysSorted(found), "leasegate/bench/nothing")
	wasm, err := toWasm(ctx, req, modules, entrypoints)
	if err != nil {
		return refuse(err)
	}
	out := reply{OK: true, Errors: []diagnostic{}, Wasm: wasm}
	for _, entrypoint := range util.KeysSorted(found) {
		out.Rules = append(out.Rules, *found[entrypoint])
	}
	return out
}

func findRules(modules map[string]*ast.Module) (map[string]*ruleResult, error) {
	sorted := make([]*ast.Module, 0, len(modules))
	for _, path := range util.KeysSorted(modules) {
		sorted = append(sorted, modules[path])
	}
	annotations, errs := ast.BuildAnnotationSet(sorted)
	if len(errs) > 0 {
		return nil, errs
	}
	found := map[string]*ruleResult{}
	for _, module := range sorted {
		for _, rule := range module.Rules {
			if len(rule.Head.Args) > 0 {
				continue
			}
			entrypoint, err := rule.Ref().GroundPrefix().Ptr()
			if err != nil {
				return nil, err
			}
			if found[entrypoint] == nil {
				at := rule.Loc()
				found[entrypoint] = &ruleResult{
					Entrypoint: entrypoint, File: at.File, Line: at.Row, Title: titleOf(annotations, rule),
				}
			}
		}
	}
	return found, nil
}

// titleOf is the title of the nearest annotation of the rule itself, not of its package.
func titleOf(annotations *ast.AnnotationSet, rule *ast.Rule) string {
	for _, link := range annotations.Chain(rule) {
		if a := link.Annotations; a != nil && a.Title != "" && (a.Scope == "rule" || a.Scope == "document") {
			return a.Title
		}
	}
	return ""
}
