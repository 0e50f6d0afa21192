// In: a notice. Out: the body that Slack's incoming webhooks take, and those of what speaks like them. Whatever an
// agent can choose stands in code, escaped: it is never markup, a link or a mention, and never hides a character.
import type { Notice } from './notice.ts'

/** `text` for what shows one line, such as a phone; one block for the rest, with a link to `url`. */
export function slackBody({ event, data }: Notice, url: string): string {
  const { verb, backend, operation, risk, sensitivity, agent, user } = data
  const what = data.kind === 'lease' ? 'a lease' : `${code(verb)} on ${code(backend)}`
  const line = `${titleOf(event, data)}: ${what}, by ${code(agent)} for ${code(user)}`
  const facts = operation === null ? [] : [`${code(operation)}, risk ${code(risk)}, ${code(sensitivity)}`]
  const link = `<${escaped(url)}|Open it in the console>, until ${escaped(data.expires_at)}`
  return JSON.stringify({
    text: line,
    blocks: [
      {
        type: 'section',
        text: { type: 'mrkdwn', text: [line, ...facts, link].join('\n'), verbatim: true },
      },
    ],
    unfurl_links: false,
    unfurl_media: false,
  })
}

function titleOf(event: Notice['event'], { kind, state }: Notice['data']): string {
  if (event === 'approval.requested') return kind === 'draft' ? 'A draft waits' : 'Approval wanted'
  if (event === 'draft.executed') return state === 'executed' ? 'Draft executed' : 'Draft failed'
  return `Decided (${state})`
}

/** Longer names are cut: Slack refuses a block of more than 3000 characters, and then nobody is told. */
const maxCharacters = 100
/** What is not seen, or turns the text around; spaces but the plain one look like it. */
const invisible = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu

/** In code nothing is markup or a mention, neither to Slack nor to what takes Markdown; the backtick would end it. */
function code(name: string | null): string {
  if (name === null) return '–'
  const shown = name
    .replaceAll('`', "'")
    .replace(invisible, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
  const characters = Array.from(shown)
  const cut = characters.length > maxCharacters ? `${characters.slice(0, maxCharacters).join('')}…` : shown
  return `\`${escaped(cut)}\``
}

/** The three characters that Slack asks to escape. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
