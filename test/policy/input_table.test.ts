// The tables of the inputs in docs/policy.md, made from their schemas: between its two markers stands exactly what
// comes out here (`vitest -u` writes it). And every field says what it is, with an example that fits.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { inputSchemaText } from '../../src/policy/input_schema.ts'
import { issueSchemaText } from '../../src/policy/issue_schema.ts'

interface Schema {
  readonly type?: string | readonly string[]
  readonly const?: unknown
  readonly enum?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly additionalProperties?: Schema | boolean
  readonly anyOf?: readonly Schema[]
  readonly minimum?: number
  readonly description?: string
  readonly examples?: readonly unknown[]
}
interface Field {
  readonly path: string
  readonly schema: Schema
}

const document = join(import.meta.dirname, '../../docs/policy.md')
const schemas: readonly (readonly [marker: string, schema: Schema])[] = [
  ['input', JSON.parse(inputSchemaText())],
  ['issue input', JSON.parse(issueSchemaText())],
]

/** Everything that is said something about, `[]` for the members of a list. */
function fieldsOf(schema: Schema, path: string): Field[] {
  const { properties, items, anyOf, description } = schema
  const here = description === undefined ? [] : [{ path, schema }]
  const inner = [
    ...Object.entries(properties ?? {}).flatMap(([name, below]) =>
      fieldsOf(below, path === '' ? name : `${path}.${name}`),
    ),
    ...(items?.properties === undefined ? [] : fieldsOf(items, `${path}[]`)),
    ...(anyOf ?? []).flatMap((option) => fieldsOf(option, path)),
  ]
  return [...here, ...inner]
}

/** What a field may hold, in the words of JSON. */
function valuesOf(schema: Schema): string {
  const { type, enum: words, anyOf, items, additionalProperties, minimum } = schema
  if (schema.const !== undefined) return code(schema.const)
  if (words !== undefined) return words.map((word) => code(word)).join(', ')
  if (anyOf !== undefined) return anyOf.map(valuesOf).join(' or ')
  if (type === 'array') return `list of ${valuesOf(items!)}s`
  if (typeof additionalProperties === 'object') return `object of ${valuesOf(additionalProperties)}s`
  if (type === 'integer') return minimum === 0 ? 'integer, 0 or more' : 'integer'
  return typeof type === 'object' ? type.join(' or ') : (type ?? 'any JSON')
}

function code(value: unknown): string {
  return `\`${JSON.stringify(value)}\``
}

function table(schema: Schema): string {
  const rows = fieldsOf(schema, '').map(
    ({ path, schema }) =>
      `| \`${path}\` | ${valuesOf(schema)} | ${code(schema.examples![0])} | ${schema.description} |`,
  )
  return ['| field | holds | example | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

describe('docs/policy.md', () => {
  it('has the tables that the schemas give', async () => {
    let text = readFileSync(document, 'utf8')
    for (const [marker, schema] of schemas) {
      const markers = new RegExp(`(<!-- ${marker} -->\\n)[\\s\\S]*?(\\n<!-- /${marker} -->)`)
      expect(text).toMatch(markers)
      text = text.replace(markers, (_, open, close) => `${open}${table(schema)}${close}`)
    }
    await expect(text).toMatchFileSnapshot(document)
  })
})

describe.each(schemas)('every field of the %s', (_marker, input) => {
  const fields = fieldsOf(input, '')
  const leaves = (schema: Schema, path = ''): string[] =>
    schema.properties === undefined
      ? [path]
      : Object.entries(schema.properties).flatMap(([name, below]) =>
          leaves(below, path === '' ? name : `${path}.${name}`),
        )

  it('says what it is', () => {
    const described = fields.map(({ path }) => path)
    expect(leaves(input).filter((path) => !described.includes(path))).toEqual([])
    expect(fields.filter(({ schema }) => (schema.description ?? '') === '')).toEqual([])
  })

  it.each(fields)('has an example at $path that the schema takes', ({ schema }) => {
    const { examples } = schema
    expect(examples).toHaveLength(1)
    expect(z.fromJSONSchema(schema as z.core.JSONSchema.JSONSchema).safeParse(examples![0]).success).toBe(
      true,
    )
  })
})
