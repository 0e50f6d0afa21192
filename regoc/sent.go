// A term in; the part of the request out that it holds as many items as, if a caller chooses how many, and
// whether a condition bounds them.
//
//go:build js && wasm

package main

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// sentRefs are the parts of the input whose size the caller chooses.
var sentRefs = []ast.Ref{
	requestRef.Append(ast.StringTerm("body")),
	requestRef.Append(ast.StringTerm("params")),
	requestRef.Append(ast.StringTerm("query")),
}

// listOf are the builtins that make a list of what their first operand holds.
var listOf = strings.Fields("array.concat array.flatten array.reverse sort split object.get")

// sent is the part of the request that a term holds as many items as, nil for others; and whether it is
// searched one by one.
func (p *passes) sent(term *ast.Term) (ref ast.Ref, isList bool) {
	switch value := p.b.value(term).Value.(type) {
	case ast.Var:
		if call := p.results[value]; call != nil && slices.Contains(listOf, call.Operator().String()) {
			operands := call.Operands()
			if call.Operator().String() == ast.ObjectGet.Name {
				return p.objectGet(operands)
			}
			ref, _ = p.sent(operands[0])
			return ref, ref != nil
		}
	case *ast.ArrayComprehension:
		ref = p.source(value.Body)
		return ref, ref != nil
	case *ast.SetComprehension:
		return p.source(value.Body), false
	case *ast.ObjectComprehension:
		ref = p.source(value.Body)
		return ref, ref != nil
	case ast.Ref:
		if whole, known := p.b.ref(term); known {
			if slices.ContainsFunc(sentRefs, whole.HasPrefix) {
				return whole, true
			}
			return p.sentByRule(whole)
		}
	}
	return nil, false
}

func (p *passes) objectGet(operands []*ast.Term) (ast.Ref, bool) {
	ref, isList := p.sent(operands[0])
	if key := p.b.value(operands[1]); ref != nil && ast.IsScalar(key.Value) {
		ref = ref.Append(key)
	}
	return ref, isList
}

// sentByRule looks at the one definition of a rule.
func (p *passes) sentByRule(ref ast.Ref) (ast.Ref, bool) {
	rules := p.compiler.GetRulesExact(ref)
	if len(rules) != 1 || len(rules[0].Head.Args) > 0 || p.depth == maxCalls {
		return nil, false
	}
	inner := passes{reading: p.readingOf(rules[0]), depth: p.depth + 1}
	if rules[0].Head.RuleKind() == ast.MultiValue {
		return inner.source(rules[0].Body), false
	}
	return inner.sent(rules[0].Head.Value)
}

// source is the first part of the request that a body goes through.
func (p *passes) source(body ast.Body) ast.Ref {
	found := passes{reading: p.reading, depth: maxCalls}
	quiet := *p.linter
	found.linter = &quiet
	for _, expr := range body {
		if found.within(expr); len(found.around) > 0 {
			return found.around[0].ref
		}
	}
	return nil
}

func (p *passes) isBounded(ref ast.Ref) bool {
	return slices.ContainsFunc(p.bounded, func(bounded ast.Ref) bool { return bounded.Equal(ref) })
}

// boundedBy are the collections that a condition bounds: `count(items) <= 100`, or a rule that says so.
func (p *passes) boundedBy(expr *ast.Expr) []ast.Ref {
	if term, isTerm := expr.Terms.(*ast.Term); isTerm && !expr.Negated && p.depth < maxCalls {
		ref, _ := p.b.ref(term)
		if rules := p.compiler.GetRulesExact(ref); len(rules) == 1 && rules[0].Else == nil {
			inner := passes{reading: p.readingOf(rules[0]), depth: p.depth + 1}
			var out []ast.Ref
			for _, condition := range rules[0].Body {
				out = append(out, inner.boundedBy(condition)...)
			}
			return out
		}
	}
	if !expr.IsCall() || len(expr.With) > 0 || len(expr.Operands()) != 2 {
		return nil
	}
	left, right := expr.Operand(0), expr.Operand(1)
	operator := expr.Operator().String()
	less := operator == ast.LessThan.Name || operator == ast.LessThanEq.Name
	greater := operator == ast.GreaterThan.Name || operator == ast.GreaterThanEq.Name
	switch {
	case operator == ast.Equality.Name && !expr.Negated:
		return append(p.counted(left, right), p.counted(right, left)...)
	case less && !expr.Negated, greater && expr.Negated:
		return p.counted(left, right)
	case greater && !expr.Negated, less && expr.Negated:
		return p.counted(right, left)
	}
	return nil
}

// counted is what a term is the count of, when the other side is no matter of the caller.
func (p *passes) counted(term, limit *ast.Term) []ast.Ref {
	count, isVar := p.b.value(term).Value.(ast.Var)
	call := p.results[count]
	if !isVar || call == nil || call.Operator().String() != ast.Count.Name {
		return nil
	}
	ref, _ := p.sent(call.Operand(0))
	limitRef, isRef := p.b.ref(limit)
	fixed := ast.IsScalar(p.b.value(limit).Value) || isRef && !slices.ContainsFunc(sentRefs, limitRef.HasPrefix)
	if ref == nil || !fixed {
		return nil
	}
	return []ast.Ref{ref}
}
