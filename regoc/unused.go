// Rules that no answer rests on.
//
//go:build js && wasm

package main

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// unused warns about every rule that neither an entry point reaches nor, in a test file, a test does.
func (l *linter) unused(entrypoints []ast.Ref) {
	entries := l.entryRules(entrypoints)
	if len(entries) == 0 {
		// Nothing is asked for: that is the mistake, and it is told.
		return
	}
	reached := map[*ast.Rule]bool{}
	for _, rule := range entries {
		l.reach(rule, reached)
	}
	tested := map[*ast.Rule]bool{}
	for _, module := range l.compiler.Modules {
		for _, rule := range module.Rules {
			if isTest(rule) {
				l.reach(rule, tested)
			}
		}
	}
	used, usedByTests := l.names(reached), l.names(tested)
	said := map[string]bool{}
	for _, module := range l.compiler.Modules {
		for _, rule := range module.Rules {
			name := rule.Ref().GroundPrefix().String()
			inTests := isTestFile(rule.Loc().File)
			if used[name] || said[name] || isTest(rule) || inTests && usedByTests[name] {
				continue
			}
			said[name] = true
			l.report(notUsed(rule, inTests, usedByTests[name]))
		}
	}
}

// entryRules are the rules at the entry points, and at those that the policy annotates as such.
func (l *linter) entryRules(roots []ast.Ref) []*ast.Rule {
	for _, module := range l.compiler.Modules {
		for _, annotation := range module.Annotations {
			if annotation.Entrypoint {
				roots = append(roots, annotation.GetTargetPath())
			}
		}
	}
	var rules []*ast.Rule
	for _, root := range roots {
		rules = append(rules, l.compiler.GetRulesWithPrefix(root)...)
	}
	return rules
}

func (l *linter) reach(rule *ast.Rule, reached map[*ast.Rule]bool) {
	for branch := rule; branch != nil; branch = branch.Else {
		if reached[branch] {
			continue
		}
		reached[branch] = true
		for next := range l.compiler.Graph.Dependencies(branch) {
			l.reach(next.(*ast.Rule), reached)
		}
	}
}

func (l *linter) names(rules map[*ast.Rule]bool) map[string]bool {
	out := map[string]bool{}
	for rule := range rules {
		out[rule.Ref().GroundPrefix().String()] = true
	}
	return out
}

func isTest(rule *ast.Rule) bool {
	name, ok := rule.Head.Ref()[0].Value.(ast.Var)
	return ok && (strings.HasPrefix(string(name), "test_") || strings.HasPrefix(string(name), "todo_test_"))
}

func notUsed(rule *ast.Rule, inTests, usedByTests bool) diagnostic {
	out := diagnostic{Code: "rule_unused", Severity: warning}
	name := rule.Head.Ref().GroundPrefix().String()
	switch {
	case inTests:
		out.Message, out.Hint = fmt.Sprintf("no test uses %s", name), "remove it"
	case usedByTests:
		out.Message = fmt.Sprintf("no decision rests on %s; only tests use it", name)
		out.Hint = "move it into a test file, or use it"
	default:
		out.Message = fmt.Sprintf("no decision rests on %s", name)
		out.Hint = "remove it, or annotate it with `entrypoint: true` if something else asks for it"
	}
	return out.at(headName(rule))
}
