"""The steps that Redis takes as one: scripts in Lua, each run without anything in between.

KEYS[1] is the hash `store` and ARGV[1] the beginning of all keys; where a step is refused when the store was
emptied since its writer opened it, ARGV[2] is the writer's epoch, and the answer then -1.
"""

CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', ARGV[1] .. ':base:0', 'header', ARGV[3])
redis.call('HSET', ARGV[1] .. ':info', 'created', ARGV[4])
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
return 1
"""
"""ARGV: header, time, then fields and values."""

COMMIT = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return -1 end
local generation = redis.call('HGET', KEYS[1], 'generation')
local number = redis.call('HGET', KEYS[1], 'batches')
redis.call('HSET', ARGV[1] .. ':batches:' .. generation, number, ARGV[3])
if #ARGV[4] > 0 then redis.call('HSET', ARGV[1] .. ':vectors:' .. generation, number, ARGV[4]) end
return redis.call('HINCRBY', KEYS[1], 'batches', 1)
"""
"""ARGV: the batch, its embeddings."""

_SWITCH = """
local old = redis.call('HGET', KEYS[1], 'generation')
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return -1 end
if old ~= ARGV[4] or redis.call('HGET', KEYS[1], 'batches') ~= ARGV[5] then return 0 end
for _, name in ipairs({':base:', ':vectors:', ':batches:'}) do
  redis.call('PERSIST', ARGV[1] .. name .. ARGV[6])
  redis.call('EXPIRE', ARGV[1] .. name .. old, ARGV[3])
end
redis.call('HSET', KEYS[1], 'generation', ARGV[6], 'batches', 0)
"""

SWITCH = _SWITCH + "return 1"
"""ARGV: seconds of grace, generation and batches that the new one was made of, the new generation.
0: somebody committed meanwhile."""

EMPTY = (
    _SWITCH
    + """
local run = redis.call('HGET', KEYS[1], 'run')
if run ~= '' then redis.call('EXPIRE', ARGV[1] .. ':findings:' .. run, ARGV[3]) end
redis.call('HSET', KEYS[1], 'run', '', 'epoch', ARGV[2] + 1, 'fingerprint', ARGV[7])
redis.call('DEL', ARGV[1] .. ':info')
redis.call('HSET', ARGV[1] .. ':info', 'created', ARGV[8])
return 1
"""
)
"""As SWITCH, and the store is another one. ARGV behind: fingerprint, time."""

FINISH = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return -1 end
local old = redis.call('HGET', KEYS[1], 'run')
if old ~= '' then redis.call('EXPIRE', ARGV[1] .. ':findings:' .. old, ARGV[3]) end
if ARGV[4] ~= '' then redis.call('PERSIST', ARGV[1] .. ':findings:' .. ARGV[4]) end
redis.call('HSET', KEYS[1], 'run', ARGV[4])
return 1
"""
"""ARGV: seconds of grace, the run whose findings are the store's from now on, "" for none."""

READ = """
for k = 1, #KEYS do
  if redis.call('TTL', KEYS[k]) > 0 then redis.call('EXPIRE', KEYS[k], ARGV[1]) end
end
return redis.call('HMGET', KEYS[1], unpack(ARGV, 2))
"""
"""KEYS: the hash that is read, others that stay as long. ARGV: seconds of grace, fields."""

APPEND = """
local log = redis.call('HGET', KEYS[1], 'log')
return redis.call('RPUSH', ARGV[1] .. ':decisions:' .. log, ARGV[2])
"""
"""ARGV: an entry."""

REPLACE = """
local old = redis.call('HGET', KEYS[1], 'log')
local count = redis.call('LLEN', ARGV[1] .. ':decisions:' .. old)
if old ~= ARGV[3] or count ~= tonumber(ARGV[4]) then return 0 end
if #ARGV[6] > 0 then redis.call('RPUSH', ARGV[1] .. ':decisions:' .. ARGV[5], ARGV[6]) end
redis.call('HSET', KEYS[1], 'log', ARGV[5])
redis.call('EXPIRE', ARGV[1] .. ':decisions:' .. old, ARGV[2])
return 1
"""
"""ARGV: seconds of grace, the log and its length that the new one was made of, the new log, its one entry."""
