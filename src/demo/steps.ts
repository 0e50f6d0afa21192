// What the demo shows, in order: each step as a command for people, and as a call that checks its answer.
import { style } from '../commands/terminal.ts'
import type { Config } from '../config.ts'

/** One step: `shown` can be pasted into a shell where `LEASE` holds the token. */
export interface Step {
  readonly title: string
  readonly shown: string
  /** What it should come to, for people. */
  readonly expected: string
  perform(): Promise<{ readonly lines: readonly string[]; readonly problem?: string }>
}

export interface DemoFacts {
  readonly config: Config
  readonly token: string
  readonly leaseId: string
  revoke(): Promise<void>
}

interface Call {
  readonly title: string
  readonly url: string
  readonly method?: 'PATCH'
  readonly status: number
  readonly why: string
  readonly code?: string
  readonly header?: string
}

/** The six steps, and the token to export first. */
export function stepsFor({ config, token, leaseId, revoke }: DemoFacts): readonly Step[] {
  const crm = `${config.publicOrigin}${config.backends[0]!.pathPrefix ?? ''}`
  const backend = config.backends[0]!.origin
  const call = (facts: Call) => callStep(facts, token)
  const read = { url: `${crm}/customers/9821` }
  return [
    call({
      ...read,
      title: '1. The agent reads the customer it was asked about',
      status: 200,
      header: 'lease-id',
      why: 'the lease covers it',
    }),
    call({
      title: '2. The same call straight at the backend',
      url: `${backend}/customers/9821`,
      status: 401,
      why: 'the agent has no key',
    }),
    call({
      title: '3. Another customer',
      url: `${crm}/customers/1042`,
      status: 403,
      code: 'outside_lease',
      why: 'the answer names the lease it would take',
    }),
    call({
      ...read,
      title: '4. A write, while the lease is in stage observe',
      method: 'PATCH',
      status: 403,
      code: 'policy_denied',
      why: 'observe only reads',
    }),
    revokeStep(leaseId, revoke),
    call({
      ...read,
      title: '6. The first call again',
      status: 401,
      code: 'lease_revoked',
      why: 'the lease is dead',
    }),
  ]
}

function callStep(facts: Call, token: string): Step {
  const body = facts.method === undefined ? undefined : '{"plan":"starter"}'
  const write =
    body === undefined ? '' : ` -X ${facts.method} -H 'content-type: application/json' -d '${body}'`
  return {
    title: facts.title,
    shown: `curl -i${write} -H "authorization: Bearer $LEASE" ${facts.url}`,
    expected: `${facts.status}: ${facts.why}`,
    async perform() {
      const response = await fetch(facts.url, {
        method: facts.method ?? 'GET',
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body }),
      })
      const text = await response.text()
      const problem = differs(facts, response, text)
      return { lines: describe(response, text), ...(problem === undefined ? {} : { problem }) }
    },
  }
}

function revokeStep(leaseId: string, revoke: () => Promise<void>): Step {
  return {
    title: '5. Somebody revokes the lease',
    shown: `npm run -s leasegate -- revoke --lease ${leaseId} --reason demo -c config.example.yaml`,
    expected: 'acknowledged once it is on disk',
    async perform() {
      await revoke()
      return { lines: [`revoked lease ${leaseId}`] }
    },
  }
}

function differs({ status, code, header }: Call, response: Response, text: string): string | undefined {
  if (response.status !== status) return `expected ${status}, got ${response.status}`
  if (header !== undefined && response.headers.get(header) === null) return `expected a ${header} header`
  if (code !== undefined && !text.includes(`"code":"${code}"`)) return `expected code ${code}`
  return undefined
}

function describe(response: Response, text: string): string[] {
  const lines = [style.cyan(`HTTP ${response.status} ${response.statusText}`)]
  for (const name of ['lease-id', 'decision-id', 'www-authenticate']) {
    const value = response.headers.get(name)
    if (value !== null) lines.push(`${name}: ${value}`)
  }
  return [...lines, ...pretty(text).split('\n')]
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text.trim()
  }
}

/** Prints the steps as commands to paste. */
export function sayCommands(steps: readonly Step[], token: string): void {
  const say = (line: string) => process.stdout.write(`${line}\n`)
  say(`${style.bold('Paste this into another terminal')} ${style.dim('(the token lives five minutes)')}\n`)
  say(`export LEASE=${token}\n`)
  for (const { title, shown, expected } of steps) {
    say(`${style.dim(`# ${title} → ${expected}`)}\n${shown}\n`)
  }
  say(style.dim('Every request appears below. Ctrl-C ends the demo.'))
}
