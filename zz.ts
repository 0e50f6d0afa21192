import { measureReplay } from './bench/replay.ts'
console.log(JSON.stringify(await measureReplay([100_000, 1_000_000])))
