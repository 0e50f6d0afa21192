// Policy sources in; the paths of the input that an entry point can read out. A path ends where the policy
// computes the next step, so that what it names is never less than what is read.
//
//go:build js && wasm

package main

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// reads lists paths such as `request.body`; the empty path is the whole input.
func reads(req request) reply {
	compiler, err := compiled(req)
	if err != nil {
		return refuse(err)
	}
	paths := map[string]struct{}{}
	for rule := range reachable(compiler, req.Entrypoints) {
		collectReads(rule, paths)
	}
	return reply{OK: true, Errors: []diagnostic{}, Reads: util.KeysSorted(paths)}
}

// reachable is every rule, `else` branches apart, that the entry points depend on.
func reachable(compiler *ast.Compiler, entrypoints []string) map[*ast.Rule]struct{} {
	found := map[*ast.Rule]struct{}{}
	var visit func(rule *ast.Rule)
	visit = func(rule *ast.Rule) {
		if _, known := found[rule]; rule == nil || known {
			return
		}
		found[rule] = struct{}{}
		visit(rule.Else)
		for next := range compiler.Graph.Dependencies(rule) {
			visit(next.(*ast.Rule))
		}
	}
	for _, entrypoint := range entrypoints {
		for _, rule := range compiler.GetRules(refTo(entrypoint)) {
			visit(rule)
		}
	}
	return found
}

// collectReads adds what one rule reads of the input.
func collectReads(rule *ast.Rule, paths map[string]struct{}) {
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Ref:
			if x.HasPrefix(ast.InputRootRef) {
				paths[pathOf(x)] = struct{}{}
				// The steps may read as well: `input.request.params[input.lease.id]`.
				for _, step := range x[1:] {
					visitor.Walk(step)
				}
				return true
			}
		case ast.Var:
			if x.Equal(ast.InputRootDocument.Value) {
				paths[""] = struct{}{}
			}
		}
		return false
	})
	visitor.Walk(rule)
}

// pathOf is the part of a reference to the input that is fixed.
func pathOf(ref ast.Ref) string {
	var steps []string
	for _, step := range ref.StringPrefix()[1:] {
		steps = append(steps, string(step.Value.(ast.String)))
	}
	return strings.Join(steps, ".")
}
