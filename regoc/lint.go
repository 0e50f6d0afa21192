// A compiled policy in; what compiles and is wrong all the same out, one file for each kind of mistake. Rests
// on the compiler's own rewritten rules: aliases and imports are resolved in them, and places are kept.
//
//go:build js && wasm

package main

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// look is what the linter knows of one question that the policy answers.
type look struct {
	// covers tells which packages are about the question.
	covers      func(pkg ast.Ref) bool
	schema      any
	entrypoints []ast.Ref
	operations  []operation
	shape       answerShape
}

// linter goes through one policy, once for each question.
type linter struct {
	look
	compiler *ast.Compiler
	data     map[string]any
	found    []diagnostic
	// none remembers the answers of mayHaveNone.
	none map[*ast.Rule]bool
}

func lint(compiler *ast.Compiler, req request) []diagnostic {
	l := &linter{compiler: compiler, data: req.Data}
	for _, at := range looks(compiler, req) {
		l.look, l.none = at, map[*ast.Rule]bool{}
		l.question()
	}
	l.dataReferences()
	l.unused(refsTo(req.entrypointsOf(compiler.Modules)))
	return inOrder(l.found)
}

// looks are one at the decision on requests, with everything that is about nothing else, and one at each topic. What the
// configuration maps are requests: no topic has any.
func looks(compiler *ast.Compiler, req request) []look {
	out := []look{{
		covers:      func(pkg ast.Ref) bool { return !req.isTopic(pkg) },
		schema:      req.Schema,
		entrypoints: refsTo(req.Entrypoints),
		operations:  req.Operations,
		shape:       gateAnswer,
	}}
	for _, t := range req.topicsOf(compiler.Modules) {
		out = append(out, look{
			covers: t.covers, schema: t.Schema, entrypoints: refsTo([]string{t.Entrypoint}), shape: issueAnswer,
		})
	}
	return out
}

// question looks at the packages that answer one.
func (l *linter) question() {
	l.decisions()
	if !l.compiler.Failed() {
		// Else the type checker has told most of them already.
		l.inputReferences()
	}
	l.comparisons()
	l.negations()
	l.nestedWork()
	if len(l.operations) > 0 {
		l.neverFires()
	}
}

func (l *linter) report(d diagnostic) {
	l.found = append(l.found, d)
}

// eachRule visits every rule of the packages looked at and every `else` branch as a rule of its own, with what its variables stand for.
func (l *linter) eachRule(visit func(*ast.Rule, bindings)) {
	for _, module := range l.compiler.Modules {
		if !l.covers(module.Package.Path) {
			continue
		}
		for _, rule := range module.Rules {
			for branch := rule; branch != nil; branch = branch.Else {
				visit(branch, bindingsOf(branch))
			}
		}
	}
}

func isTestFile(path string) bool {
	return strings.HasSuffix(path, "_test.rego")
}

// bindings are the variables of one rule that a single equation sets, with what each stands for. The compiler
// puts everything in that form: `x := input.a`, `some x in xs`, and what it moves out of a head.
type bindings map[ast.Var]*ast.Term

func bindingsOf(rule *ast.Rule) bindings {
	b := bindings{}
	ast.WalkExprs(rule.Body, func(expr *ast.Expr) bool {
		if expr.Negated || len(expr.With) > 0 || !expr.IsEquality() {
			return false
		}
		left, right := expr.Operand(0), expr.Operand(1)
		if name, ok := left.Value.(ast.Var); ok && b[name] == nil {
			b[name] = right
		} else if name, ok := right.Value.(ast.Var); ok && b[name] == nil {
			b[name] = left
		}
		return false
	})
	return b
}

// maxChain ends the walk along variables that stand for each other.
const maxChain = 32

// value is what a term stands for: itself, unless it is a variable that is bound.
func (b bindings) value(term *ast.Term) *ast.Term {
	for range maxChain {
		name, isVar := term.Value.(ast.Var)
		if !isVar || b[name] == nil {
			break
		}
		term = b[name]
	}
	return term
}

// ref is the whole reference that a term stands for, from `input` or `data` on where that can be told.
func (b bindings) ref(term *ast.Term) (ast.Ref, bool) {
	ref, isRef := b.value(term).Value.(ast.Ref)
	for range maxChain {
		if !isRef {
			return nil, false
		}
		name, isVar := ref[0].Value.(ast.Var)
		if !isVar || b[name] == nil {
			break
		}
		var head ast.Ref
		if head, isRef = b.value(b[name]).Value.(ast.Ref); isRef {
			ref = head.Concat(ref[1:])
		}
	}
	return ref, isRef
}

// constants are the scalars that a term may equal, or that a collection holds; false where that is not known.
func (l *linter) constants(term *ast.Term, b bindings) ([]*ast.Term, bool) {
	term = b.value(term)
	switch value := term.Value.(type) {
	case ast.String, ast.Number, ast.Boolean, ast.Null:
		return []*ast.Term{term}, true
	case *ast.Array:
		var out []*ast.Term
		value.Foreach(func(item *ast.Term) { out = append(out, b.value(item)) })
		return out, allScalars(out)
	case ast.Set:
		var out []*ast.Term
		value.Foreach(func(item *ast.Term) { out = append(out, b.value(item)) })
		return out, allScalars(out)
	case ast.Ref:
		rules := l.compiler.GetRulesExact(value)
		if len(rules) != 1 || rules[0].Else != nil || len(rules[0].Head.Args) > 0 || !isFact(rules[0]) {
			return nil, false
		}
		return l.constants(rules[0].Head.Value, bindings{})
	}
	return nil, false
}

// isFact tells whether a rule is a plain constant, `name := value`.
func isFact(rule *ast.Rule) bool {
	return rule.Head.Value != nil && rule.Head.Value.IsGround() && len(rule.Body) == 1 &&
		rule.Body[0].Equal(ast.NewExpr(ast.BooleanTerm(true)))
}

func allScalars(terms []*ast.Term) bool {
	for _, term := range terms {
		if !ast.IsScalar(term.Value) {
			return false
		}
	}
	return true
}
