// What Slack is told: names that an agent or an issuer chose are text, and only the link of the console is a link.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { NoticeEvent } from '../../src/approval/notices.ts'
import type { Destination } from '../../src/notify/notice.ts'
import { readNotice } from '../../src/notify/notice.ts'
import { createNotices } from '../../src/notify/notices.ts'
import { slackBody } from '../../src/notify/slack.ts'
import { action } from './subjects.ts'

const place: Destination = {
  url: 'https://hooks.example/services/x',
  format: 'slack',
  secret: '',
  events: ['approval.requested', 'approval.decided', 'draft.executed'],
}
const page = 'https://leasegate.example/console#/inbox/act_01KAHFX2D9V0R5T3M8Q6ZJ7W4E'
const notices = createNotices({
  destinations: [place],
  clock: Date.now,
})

/** The message about an action under a lease of these names, as it goes through the store. */
function message({ agent = 'support-triage', user = 'alice@example.com', ...over }, event?: NoticeEvent) {
  const { lease, ...rest } = action(over)
  const subject = { ...rest, lease: { ...lease, user, agent: { ...lease.agent, id: agent } } }
  const [write] = notices.writes(event ?? 'approval.requested', subject)
  const {
    text: body,
    blocks,
    ...flags
  } = JSON.parse(slackBody(readNotice({ id: 'msg_1', version: 1, text: write?.text ?? '' })!, page))
  return { line: String(body), block: String(blocks[0].text.text), blocks, flags }
}

test('a message is one line for a phone and three for a screen, the last a link to the page', () => {
  const { line, block, blocks, flags } = message({ expiresAt: 1_795_300_000 })
  expect(line).toBe('Approval wanted: `delete` on `crm`, by `support-triage` for `alice@example.com`')
  expect(block.split('\n')).toEqual([
    line,
    '`DELETE /customers/{id}`, risk `high`, `restricted`',
    '<https://leasegate.example/console#/inbox/act_01KAHFX2D9V0R5T3M8Q6ZJ7W4E|Open it in the console>, until 2026-11-21T22:26:40.000Z',
  ])
  expect(blocks).toHaveLength(1)
  expect(flags).toEqual({ unfurl_links: false, unfurl_media: false })
})

test.each([
  ['approval.requested', { kind: 'draft' }, 'A draft waits'],
  ['approval.decided', { state: 'approved' }, 'Decided (approved)'],
  ['approval.decided', { state: 'refused' }, 'Decided (refused)'],
  ['draft.executed', { state: 'executed' }, 'Draft executed'],
  ['draft.executed', { state: 'failed' }, 'Draft failed'],
] as const)('%s of %o begins with "%s"', (event, over, title) => {
  expect(message(over, event).line).toMatch(`${title}: `)
})

describe('a hostile name', () => {
  test.each([
    ['a mention of everybody', '<!channel>', '`&lt;!channel&gt;`'],
    ['a mention as Mattermost has it', '@channel @here', '`@channel @here`'],
    ['a link', '<https://evil.example|Approved>', '`&lt;https://evil.example|Approved&gt;`'],
    ['a Markdown link', '[Approved](https://evil.example)', '`[Approved](https://evil.example)`'],
    ['the end of code', '` *Approved* `', "`' *Approved* '`"],
    ['an entity', '&lt;!here&gt;', '`&amp;lt;!here&amp;gt;`'],
    ['lines', 'x\n>Approved by bob', '`x\\u{a}&gt;Approved by bob`'],
    ['text turned around', 'x\u202eevil', '`x\\u{202e}evil`'],
    ['spaces that join names', 'a\u2003b\u00a0c', '`a\\u{2003}b\\u{a0}c`'],
    ['what is not seen', 'a\u200bb\u{e0041}', '`a\\u{200b}b\\u{e0041}`'],
    ['half a character', 'a\ud800', '`a\\u{d800}`'],
    ['no end', '𝕏'.repeat(1000), `\`${'𝕏'.repeat(100)}…\``],
  ])('%s is text', (_, name, shown) => {
    const named = message({ agent: name })
    expect(named.line).toBe(`Approval wanted: \`delete\` on \`crm\`, by ${shown} for \`alice@example.com\``)
    expect(message({ user: name }).line.endsWith(` for ${shown}`)).toBe(true)
  })

  test('whatever it is, outside of code there are our own words and one link', () => {
    const word = fc.string({ unit: 'binary', minLength: 1, maxLength: 300 })
    const evil = fc.mixedCase(fc.constantFrom('`<!channel>`', '``', '<http://x|y>', '\n', '&', '|', '*'))
    const name = fc.array(fc.oneof(word, evil), { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(name, name, (agent, user) => {
        const { block } = message({ agent, user, expiresAt: 1_795_300_000 })
        const [outside, ...rest] = [block.replace(/`[^`\n]*`/g, 'CODE')]
        expect(rest).toEqual([])
        expect(outside).toBe(
          [
            'Approval wanted: CODE on CODE, by CODE for CODE',
            'CODE, risk CODE, CODE',
            '<https://leasegate.example/console#/inbox/act_01KAHFX2D9V0R5T3M8Q6ZJ7W4E|Open it in the console>, until 2026-11-21T22:26:40.000Z',
          ].join('\n'),
        )
        const code = [...block.matchAll(/`([^`\n]*)`/g)].map(([, inner]) => inner)
        for (const inner of code) expect(inner).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)|[\p{Cc}\p{Cf}]/u)
        expect(block.length).toBeLessThanOrEqual(3000)
      }),
      { numRuns: 300 },
    )
  })
})

test('a request for a lease is about no operation', () => {
  const { what: _, kind: __, ...rest } = action({ expiresAt: 1_795_300_000 })
  const [write] = notices.writes('approval.requested', { ...rest, kind: 'lease' })
  const notice = readNotice({ id: 'msg_1', version: 1, text: write?.text ?? '' })!
  expect(notice.data).toMatchObject({ kind: 'lease', verb: null, backend: null, operation: null })
  expect(JSON.parse(slackBody(notice, page)).text).toBe(
    'Approval wanted: a lease, by `support-triage` for `alice@example.com`',
  )
})
