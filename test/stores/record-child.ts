// In: which store, as JSON, a task and its arguments. Out: a line of JSON with what came of it; then it stays alive
// so that the test can kill it at that very moment. What several do at once begins when a line comes in.
import { once } from 'node:events'
import { Actions } from '../../src/approval/actions.ts'
import { createSealer } from '../../src/approval/seal.ts'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { recordWrite } from './samples.ts'

const bounds = { maxStalenessMs: 5000, commandTimeoutMs: 10_000 }

const tasks: Record<string, (store: Store, id: string, count: number) => Promise<unknown>> = {
  /** Adds one to a number, so many times; the tries that it took. */
  async increment({ records }, id, count) {
    let tries = 0
    for (let done = 0; done < count; tries++) {
      const { text = '0', version = 0 } = (await records.get('action', id)) ?? {}
      const next = recordWrite(id, { expect: version, text: String(Number(text) + 1) })
      if (await records.write([next])) done++
    }
    return tries
  },
  /** Uses the approved actions `ID-0`, `ID-1` … up; the numbers of those that were its own. */
  async use({ records }, id, count) {
    const actions = new Actions(records, createSealer('of no use here'))
    const won: number[] = []
    for (let at = 0; at < count; at++) {
      const kept = await actions.get(`${id}-${at}`)
      if (kept?.action.state !== 'approved') continue
      if (await actions.change(kept, { ...kept.action, state: 'used' })) won.push(at)
    }
    return won
  },
}

const [where = '{}', task = '', id, count] = process.argv.slice(2)
const { path, url, prefix } = JSON.parse(where) as Record<string, string>
if (id === undefined || tasks[task] === undefined)
  throw new Error('usage: record-child.ts STORE TASK ID COUNT')
const store =
  path === undefined
    ? await openRedis({ url: url!, prefix: prefix!, settleMs: 0, ...bounds })
    : await openEmbedded({ path, ...bounds })
process.stdout.write('"ready"\n')
await once(process.stdin, 'data')
process.stdout.write(`${JSON.stringify(await tasks[task](store, id, Number(count)))}\n`)
setInterval(() => {}, 1000)
