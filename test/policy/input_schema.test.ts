import { describe, expect, it } from 'vitest'
import { inputSchemaText, policyInput } from '../../src/policy/input_schema.ts'
import { editorInputText } from '../../src/policy/sample.ts'
import { deleting, reading, shippedDir } from './support.ts'

describe('the schema of the policy input', () => {
  it('in policies/ is the one generated from the code (vitest -u writes it)', async () => {
    await expect(inputSchemaText()).toMatchFileSnapshot(`${shippedDir}/input.schema.json`)
  })

  it.each([
    ['a read', reading],
    ['a delete', deleting],
    [
      'a body of any shape',
      { ...reading, request: { ...reading.request, body: { items: [1, { a: null }] } } },
    ],
    [
      'an approval',
      {
        ...reading,
        context: { ...reading.context, approval: { id: 'act_1', approved_by: ['x'], kind: 'repeat' } },
      },
    ],
    [
      'an approval as it was recorded before there were repeats',
      { ...reading, context: { ...reading.context, approval: { id: 'apr_1', approved_by: ['x'] } } },
    ],
  ])('accepts %s', (_name, input) => {
    expect(policyInput.safeParse(input).success).toBe(true)
  })

  it.each([
    ['another version', { ...reading, version: 2 }],
    ['an unknown member', { ...reading, extra: 1 }],
    ['an unknown member deep inside', { ...reading, lease: { ...reading.lease, user_id: 'x' } }],
    ['a stage of its own', { ...reading, lease: { ...reading.lease, stage: 'root' } }],
    ['a missing provenance', { ...reading, context: { ...reading.context, provenance: undefined } }],
    [
      'a negative count',
      { ...reading, context: { ...reading.context, recent_calls: { lease_1m: -1, agent_1m: 0 } } },
    ],
    [
      'an approval of a third kind',
      {
        ...reading,
        context: { ...reading.context, approval: { id: 'act_1', approved_by: ['x'], kind: 'any' } },
      },
    ],
    ['a repeated query value', { ...reading, request: { ...reading.request, query: { a: ['1', '2'] } } }],
  ])('refuses %s', (_name, input) => {
    expect(policyInput.safeParse(input).success).toBe(false)
  })
})

describe('the input that editors complete with', () => {
  it('in policies/ is the one generated from the sample (vitest -u writes it)', async () => {
    await expect(editorInputText()).toMatchFileSnapshot(`${shippedDir}/input.json`)
  })

  it('is a whole input', () => {
    expect(policyInput.safeParse(JSON.parse(editorInputText())).error).toBeUndefined()
  })
})
