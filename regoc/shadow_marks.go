// Modules in; which rules are marked shadow out, and every mark that means nothing.
// Never passes a mark over: whoever wrote it believes that the rule below decides nothing.
//
//go:build js && wasm

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

func mentionsShadow(modules map[string]*ast.Module) bool {
	for _, module := range modules {
		if slices.ContainsFunc(module.Annotations, marksShadow) || slices.ContainsFunc(module.Comments, looksLikeMark) {
			return true
		}
	}
	return false
}

func marksShadow(a *ast.Annotations) bool {
	_, ok := a.Custom[shadowMember]
	return ok
}

var markText = regexp.MustCompile(`^\s*(custom\s*:\s*\{\s*)?["']?shadow["']?\s*:\s*true\b`)

func looksLikeMark(c *ast.Comment) bool {
	return markText.Match(c.Text)
}

// findStray refuses marks that OPA passes over, or gives to the rule after the one they stand in: somebody
// believes that they hold, and the rule below would decide.
func (s *splitter) findStray() {
	for _, path := range util.KeysSorted(s.modules) {
		module := s.modules[path]
		read := map[int]bool{}
		for _, a := range module.Annotations {
			if !marksShadow(a) {
				continue
			}
			if slices.ContainsFunc(module.Rules, func(rule *ast.Rule) bool { return standsIn(rule, a.Loc().Row) }) {
				s.refuse(a.Loc(), "shadow marks a whole rule: write it above the rule, not inside")
			}
			for row := a.Loc().Row; row <= a.EndLoc().Row; row++ {
				read[row] = true
			}
		}
		for _, c := range module.Comments {
			if looksLikeMark(c) && !read[c.Location.Row] {
				s.refuse(c.Location, "this marks nothing: write it below METADATA and custom, right above the rule")
			}
		}
	}
}

// standsIn tells whether a row lies before the last branch of a rule, and after its beginning.
func standsIn(rule *ast.Rule, row int) bool {
	last := rule
	for last.Else != nil {
		last = last.Else
	}
	return rule.Loc().Row < row && row < last.Loc().Row
}

// mark finds the rules that leave, and refuses marks where they cannot mean anything.
func (s *splitter) mark() {
	for _, path := range util.KeysSorted(s.modules) {
		module := s.modules[path]
		for _, a := range module.Annotations {
			if marksShadow(a) && a.Scope != "rule" {
				s.refuse(a.Loc(), "shadow marks a single rule: write scope: rule")
			}
		}
		// It has been checked: what can be wrong with annotations was found there.
		annotations, _ := ast.BuildAnnotationSet([]*ast.Module{module})
		for _, rule := range module.Rules {
			marked := false
			for _, a := range annotations.GetRuleScope(rule) {
				value, there := a.Custom[shadowMember]
				yes, ok := value.(bool)
				if there && !ok {
					s.refuse(a.Loc(), "write shadow: true, or leave it out")
				}
				marked = marked || yes
			}
			if marked {
				s.markRule(rule)
			} else if strings.HasPrefix(name(rule), "test_") {
				s.leaving[rule] = false
			}
		}
	}
}

func (s *splitter) markRule(rule *ast.Rule) {
	at := rule.Loc()
	switch {
	case rule.Default:
		s.refuse(at, "a default cannot be marked shadow: mark the rules of %s", name(rule))
	case s.isEntrypoint(rule):
		s.refuse(at, "%s is what the gate asks and cannot be marked shadow; policy.shadow has a whole policy in shadow",
			name(rule))
	case strings.HasPrefix(name(rule), "test_"):
		s.refuse(at, "%s is a test: it decides nothing and cannot be marked shadow", name(rule))
	default:
		s.leaving[rule] = true
		s.rules = append(s.rules, fmt.Sprintf("%s (%s:%d)", documentOf(rule), at.File, at.Row))
	}
}
