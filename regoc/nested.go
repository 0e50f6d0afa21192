// Work that grows faster than what a caller sends: a list searched, or gone through, for each item of another.
// What lies below the item itself is none: all of that together is no more than was sent.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxCalls ends the way into functions that call functions: each call of one is looked at anew.
const maxCalls = 4

// pass is one way through something that a caller sends, with the variables that stand for the item.
type pass struct {
	ref   ast.Ref
	items ast.VarSet
}

// passes is what surrounds an expression: the ways through, and what is bounded in size.
type passes struct {
	reading
	around  []pass
	bounded []ast.Ref
	// call is where the outermost function was called that the expression belongs to; nil outside of any.
	call  *ast.Term
	depth int
}

// nestedWork warns about each search or way through within another one.
func (l *linter) nestedWork() {
	l.eachRule(func(rule *ast.Rule, _ bindings) {
		if !isTestFile(rule.Loc().File) {
			p := passes{reading: l.readingOf(rule)}
			p.body(rule.Body)
		}
	})
}

// body follows the order of evaluation. The caller's own copy stays as it was: what a closure goes through ends with it.
func (p passes) body(body ast.Body, heads ...*ast.Term) {
	for _, expr := range body {
		p.within(expr)
		p.bounded = append(slices.Clone(p.bounded), p.boundedBy(expr)...)
	}
	for _, head := range heads {
		p.within(&ast.Expr{Terms: head, Location: head.Location})
	}
}

func (p *passes) within(expr *ast.Expr) {
	if every, isEvery := expr.Terms.(*ast.Every); isEvery {
		p.every(expr, every)
		return
	}
	if expr.IsCall() && !expr.IsEquality() {
		p.callOf(expr)
	}
	ast.NewGenericVisitor(func(node any) bool {
		switch node := node.(type) {
		case ast.Body:
			p.body(node)
			return true
		case *ast.ArrayComprehension:
			p.body(node.Body, node.Term)
			return true
		case *ast.SetComprehension:
			p.body(node.Body, node.Term)
			return true
		case *ast.ObjectComprehension:
			p.body(node.Body, node.Key, node.Value)
			return true
		case *ast.Term:
			if _, isRef := node.Value.(ast.Ref); isRef {
				p.through(node, expr)
			}
		}
		return false
	}).Walk(expr)
}

// through looks for the variables of a reference that nothing sets: each goes through all that is there.
func (p *passes) through(term *ast.Term, expr *ast.Expr) {
	ref, place := term.Value.(ast.Ref), term.Location
	if place == nil || place.File == "" {
		// `some x in xs` has a reference of the compiler's.
		place = expr.Location
	}
	for at := 1; at < len(ref); at++ {
		name, isVar := ref[at].Value.(ast.Var)
		if !isVar || p.looksUp(ref[at]) || slices.ContainsFunc(p.around, func(o pass) bool { return o.items.Contains(name) }) {
			continue
		}
		collection := ast.NewTerm(ref[:at])
		if at == 1 {
			collection = ref[0]
		}
		p.enter(collection, place, ast.NewVarSet(name))
	}
}

func (p *passes) enter(collection *ast.Term, place *ast.Location, items ast.VarSet) {
	if ref, _ := p.sent(collection); ref != nil && !p.isBounded(ref) {
		p.tell("goes through", ref, place)
		p.around = append(slices.Clone(p.around), pass{ref, items})
	}
}

func (p *passes) every(expr *ast.Expr, every *ast.Every) {
	inner := *p
	items := every.Value.Vars()
	key := every.Value
	if every.Key != nil {
		items.Update(every.Key.Vars())
	}
	if domain, known := p.b.ref(every.Domain); known {
		inner.b = bindings{}
		for name, term := range p.b {
			inner.b[name] = term
		}
		// An item is below its collection, so that what is below the item can be told.
		for name := range every.Value.Vars() {
			inner.b[name] = ast.NewTerm(domain.Append(ast.VarTerm("every " + key.String())))
			items.Add(ast.Var("every " + key.String()))
		}
	}
	inner.enter(every.Domain, expr.Location, items)
	inner.body(every.Body)
}

// callOf is a search, a walk, or the body of a function with what it was called with.
func (p *passes) callOf(expr *ast.Expr) {
	operands := expr.Operands()
	switch name := expr.Operator().String(); name {
	case ast.Member.Name, ast.MemberWithKey.Name:
		// What follows the collection takes the answer: `found := a in xs`.
		if ref, isList := p.sent(operands[p.compiler.GetArity(expr.Operator())-1]); isList && !p.isBounded(ref) {
			p.tell("searches", ref, expr.Location)
		}
	case ast.WalkBuiltin.Name:
		p.enter(operands[0], expr.Location, operands[len(operands)-1].Vars())
	default:
		if len(p.around) > 0 && p.depth < maxCalls {
			p.function(expr, operands)
		}
	}
}

func (p *passes) function(expr *ast.Expr, operands []*ast.Term) {
	for _, rule := range p.compiler.GetRulesExact(expr.Operator()) {
		for branch := rule; branch != nil; branch = branch.Else {
			inner := *p
			inner.reading, inner.depth = p.readingOf(branch), p.depth+1
			if p.call == nil {
				inner.call = &ast.Term{Value: ast.String(lastOf(expr.Operator())), Location: expr.Location}
			}
			for i, arg := range branch.Head.Args {
				if name, isVar := arg.Value.(ast.Var); isVar && i < len(operands) {
					inner.b[name] = p.whole(operands[i])
				}
			}
			inner.body(branch.Body)
		}
	}
}

// whole is a term that means the same in another rule: variables of two rules are never the same.
func (p *passes) whole(term *ast.Term) *ast.Term {
	if ref, known := p.b.ref(term); known {
		return ast.NewTerm(ref)
	}
	return p.b.value(term)
}

// tell warns unless everything around is what the collection belongs to.
func (p *passes) tell(does string, ref ast.Ref, place *ast.Location) {
	vars := ast.NewTerm(ref).Vars()
	for _, outer := range slices.Backward(p.around) {
		if len(outer.items.Intersect(vars)) > 0 {
			continue
		}
		if p.call != nil {
			does, place = string(p.call.Value.(ast.String))+" "+does, p.call.Location
		}
		p.report(diagnostic{
			Code:     "work_nested",
			Severity: warning,
			Message:  fmt.Sprintf("%s %s for each item of %s: a caller can make that take hours", does, p.shown(ref), p.shown(outer.ref)),
			Hint:     "make a set before, {x | some x in …}, and ask that; or first bound count(…)",
		}.at(place))
		return
	}
}

func lastOf(ref ast.Ref) string {
	return strings.Trim(ref[len(ref)-1].String(), `"`)
}
