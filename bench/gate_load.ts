// In: messages of the process that started it, each a rate, a token and a time. Out: for each the 99th percentile
// of what requests to the gate took. A process of its own, so that whoever loads the broker does not hold it up.
import { fixedRate } from './load.ts'
import { percentiles } from './numbers.ts'
import { requestText } from './throughput.ts'

/** One measurement. */
export interface GateLoad {
  readonly port: number
  readonly token: string
  readonly perSecond: number
  readonly seconds: number
}

process.on('message', async ({ port, token, perSecond, seconds }: GateLoad) => {
  const load = { port, request: requestText(token), connections: 32, seconds }
  process.send?.(percentiles(await fixedRate(load, perSecond)))
})
process.once('disconnect', () => process.exit())
process.send?.('ready')
