// Modules with rules marked shadow in; the same policy as if those rules were not there out.
// Never guesses what a condition would be worth without the rule it asks: what cannot be left out is refused.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

const (
	shadowMember = "shadow"
	shadowError  = "regoc_shadow_error"
)

// liveForm is what decides while rules are in shadow. Rules names those, for people.
type liveForm struct {
	modules  map[string]*ast.Module
	compiler *ast.Compiler
	rules    []string
}

// withoutShadow takes the rules marked `custom: {shadow: true}` away, and every condition that only asks one
// of them. Nil when no rule is marked. Tests are not part of it: they are about the policy as written.
func withoutShadow(req request, modules map[string]*ast.Module) (*liveForm, error) {
	if !mentionsShadow(modules) {
		return nil, nil
	}
	s := splitter{modules: resolved(modules), entrypoints: req.entrypointsOf(modules), leaving: map[*ast.Rule]bool{}}
	s.findStray()
	if s.mark(); len(s.failed) > 0 {
		return nil, s.failed
	}
	if len(s.rules) == 0 {
		return nil, nil
	}
	s.findGone()
	for _, path := range util.KeysSorted(s.modules) {
		module := s.modules[path]
		module.Imports = nil
		module.Rules = slices.DeleteFunc(module.Rules, s.leaves)
		for _, rule := range module.Rules {
			s.strip(rule)
		}
	}
	if len(s.failed) > 0 {
		return nil, s.failed
	}
	// Not strict: without its last reader, a variable may be left that nothing uses.
	compiler, typed := req.compilerOf(s.modules)
	if compiler.WithStrict(false).Compile(typed); compiler.Failed() {
		for _, e := range compiler.Errors {
			e.Message += " (in the live policy, where the rules marked shadow are left out)"
		}
		return nil, compiler.Errors
	}
	return &liveForm{s.modules, compiler, s.rules}, nil
}

// resolved copies modules that have been checked, with every name of a rule as its whole path below data.
func resolved(modules map[string]*ast.Module) map[string]*ast.Module {
	out := map[string]*ast.Module{}
	ast.NewCompiler().
		WithCapabilities(capabilities()).
		WithStageAfterID(ast.StageResolveRefs, ast.CompilerStageDefinition{
			Name:       "CopyResolved",
			MetricName: "copy_resolved",
			Stage: func(c *ast.Compiler) *ast.Error {
				for path, module := range c.Modules {
					out[path] = module.Copy()
				}
				return nil
			},
		}).
		Compile(modules)
	return out
}

// splitter is the work under way. Everything that is wrong ends up in failed.
type splitter struct {
	modules     map[string]*ast.Module
	entrypoints []string
	// leaving has the rules marked shadow (true) and the tests (false).
	leaving map[*ast.Rule]bool
	rules   []string
	// gone are the documents of which no rule stays.
	gone   []document
	failed ast.Errors
}

type document struct {
	path   ast.Ref
	marked bool
}

func (s *splitter) refuse(at *ast.Location, format string, args ...any) {
	s.failed = append(s.failed, ast.NewError(shadowError, at, format, args...))
}

func (s *splitter) leaves(rule *ast.Rule) bool {
	_, leaves := s.leaving[rule]
	return leaves
}

// findGone lists the documents that only rules which leave contribute to.
func (s *splitter) findGone() {
	var staying []ast.Ref
	for _, module := range s.modules {
		for _, rule := range module.Rules {
			if !s.leaves(rule) {
				staying = append(staying, documentOf(rule))
			}
		}
	}
	for rule, marked := range s.leaving {
		path := documentOf(rule)
		if !slices.ContainsFunc(staying, func(other ast.Ref) bool { return overlap(path, other) }) {
			s.gone = append(s.gone, document{path: path, marked: marked})
		}
	}
	// A map has no order, and messages name the first that fits.
	slices.SortFunc(s.gone, func(a, b document) int { return a.path.Compare(b.path) })
}

// strip takes bare conditions on what is gone out of a rule that stays, then refuses any other mention.
func (s *splitter) strip(rule *ast.Rule) {
	for branch := rule; branch != nil; branch = branch.Else {
		var body ast.Body
		var last *ast.Expr
		for _, condition := range branch.Body {
			if s.asksOnlyGone(condition) {
				last = condition
			} else {
				body.Append(condition)
			}
		}
		if last != nil && !slices.ContainsFunc(body, restricts) {
			s.refuse(last.Loc(), "%s would always hold without this condition on a rule in shadow: %s",
				name(rule), s.advice(rule))
			return
		}
		branch.Body = body
	}
	ast.WalkTerms(rule, func(term *ast.Term) bool {
		ref, ok := term.Value.(ast.Ref)
		if !ok || !ref.HasPrefix(ast.DefaultRootRef) {
			return false
		}
		for _, gone := range s.gone {
			if !overlap(ref, gone.path) {
				continue
			}
			at := term.Loc()
			if gone.marked {
				s.refuse(at, "%s is marked shadow, and without it %s would mean something else: %s",
					gone.path, name(rule), s.advice(rule))
			} else {
				s.refuse(at, "%s is a test: while a rule is in shadow, policy cannot ask it", gone.path)
			}
			return true
		}
		return false
	})
}

func (s *splitter) isEntrypoint(rule *ast.Rule) bool {
	path, err := documentOf(rule).Ptr()
	return err == nil && slices.Contains(s.entrypoints, path)
}

// advice is what to do about a rule that needs one in shadow.
func (s *splitter) advice(rule *ast.Rule) string {
	if s.isEntrypoint(rule) {
		return "let it ask through a rule that can be marked shadow too"
	}
	return fmt.Sprintf("mark %s shadow too", name(rule))
}

// asksOnlyGone tells a bare positive condition that is a reference or a call to a rule in shadow.
func (s *splitter) asksOnlyGone(condition *ast.Expr) bool {
	if condition.IsNegated() || len(condition.With) > 0 {
		return false
	}
	ref := condition.Operator()
	if term, ok := condition.Terms.(*ast.Term); ok {
		ref, _ = term.Value.(ast.Ref)
	}
	return slices.ContainsFunc(s.gone, func(gone document) bool { return gone.marked && ref.HasPrefix(gone.path) })
}

// restricts tells a condition from an expression that only gives a value a name. Which of two a `=` is shows
// only when it runs, so one with a variable is none.
func restricts(condition *ast.Expr) bool {
	if condition.IsEquality() {
		return !slices.ContainsFunc(condition.Operands(), func(operand *ast.Term) bool {
			return len(operand.Vars().Diff(ast.ReservedVars)) > 0
		})
	}
	return !condition.IsSome() && !condition.IsAssignment()
}

// overlap tells whether one path leads to the other, or into it. What is computed may be any name.
func overlap(a, b ast.Ref) bool {
	for i := range min(len(a), len(b)) {
		if i > 0 && ast.IsConstant(a[i].Value) && ast.IsConstant(b[i].Value) && !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func documentOf(rule *ast.Rule) ast.Ref {
	return rule.Ref().GroundPrefix()
}

// name is what the rule is called inside its package.
func name(rule *ast.Rule) string {
	return rule.Head.Ref().GroundPrefix().String()
}
