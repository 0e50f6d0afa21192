// The places in a policy input, by name. In: the schema of the input. Out: dotted paths, such as `request.body`,
// and whether a path that somebody wrote names one. Never looks at a value.
import { z } from 'zod'
import { policyInput } from './input_schema.ts'

/** Every path that the schema names, each before those below it. */
export const inputPaths: readonly string[] = namedBelow(policyInput, '')

/** Those that hold what a caller sends: any name may stand below them. */
const openPaths = inputPaths.filter((path) => isOpen(schemaAt(path.split('.'))))

/** Whether `path` names a place in the input, or may name one in what a caller sends. */
export function isInputPath(path: string): boolean {
  return inputPaths.includes(path) || openPaths.some((open) => liesBelow(path, open))
}

/** Whether one of two paths leads to the other; '' is the whole input. Who reads one of them reads the other. */
export function overlapping(one: string, other: string): boolean {
  return one === other || one === '' || other === '' || liesBelow(one, other) || liesBelow(other, one)
}

function liesBelow(path: string, parent: string): boolean {
  return path.startsWith(`${parent}.`) && !path.endsWith('.') && !path.includes('..')
}

function namedBelow(schema: unknown, prefix: string): string[] {
  return Object.entries(membersOf(schema)).flatMap(([name, inner]) => [
    `${prefix}${name}`,
    ...namedBelow(inner, `${prefix}${name}.`),
  ])
}

function schemaAt(path: readonly string[]): unknown {
  return path.reduce<unknown>((schema, name) => membersOf(schema)[name], policyInput)
}

function membersOf(schema: unknown): Readonly<Record<string, unknown>> {
  if (schema instanceof z.ZodNullable) return membersOf(schema.unwrap())
  return schema instanceof z.ZodObject ? schema.shape : {}
}

function isOpen(schema: unknown): boolean {
  return schema instanceof z.ZodRecord || schema instanceof z.ZodUnknown
}
