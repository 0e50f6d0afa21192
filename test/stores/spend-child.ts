// In: the state file, a key and a maximum as arguments. Out: a line with how many of 400 calls were paid for, made
// eight at a time; then it stays alive so that the test can kill it at that very moment.
import { openEmbedded } from '../../src/stores/embedded.ts'
import { total } from './samples.ts'

const [path, key, max] = process.argv.slice(2)
if (path === undefined || key === undefined || max === undefined) {
  throw new Error('usage: spend-child.ts PATH KEY MAX')
}
const { budgets } = await openEmbedded({ path, maxStalenessMs: 2000 })
let spent = 0
const caller = async () => {
  for (let i = 0; i < 50; i++) if ((await budgets.spend([total(key, { max: BigInt(max) })])).spent) spent++
}
await Promise.all(Array.from({ length: 8 }, caller))
process.stdout.write(`${spent}\n`)
setInterval(() => {}, 1000)
