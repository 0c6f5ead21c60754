// Every hour: both aggregates anew for the hours that replayed frames have come into since the last time. For each hour
// processo_1h keeps how many it held (measurement ingest_repair); an hour whose number has changed is aggregated again,
// with all between the first and the last such hour. Without any, it is the hour before, which changes nothing.
import "date"
import "regexp"
import "strings"
import "types"

option task = {name: "repair", every: 1h, offset: 5m}

// What a frame says of its delivery, and not of the machine.
BOOKKEEPING = /^(seq|boot|replayed|bad|tenant_claimed|plc_claimed|type_conflict|left_out)$/

// Each field's last value as NAME_last, whatever its type; numbers as NAME_mean, NAME_min and NAME_max too. Three kinds
// of field, since the database itself aggregates only where one name means one type: numbers wherever they occur, names
// that are a number in one measurement and something else in another, and the rest.
aggregate = (start, stop, every) => {
    raw = () => from(bucket: "processo_raw")
        |> range(start: start, stop: stop)
        |> filter(fn: (r) => r._measurement !~ /^ingest_/ and r._field !~ BOOKKEEPING)
    lasts = raw() |> aggregateWindow(every: every, fn: last, createEmpty: false)
    latest = lasts |> last()
    names = (tables=<-) => "^(" + strings.joinStr(
        arr: tables
            |> keep(columns: ["_field"])
            |> group()
            |> distinct(column: "_field")
            |> map(fn: (r) => ({_value: regexp.quoteMeta(v: r._value)}))
            |> findColumn(fn: (key) => true, column: "_value"),
        v: "|",
    ) + ")$"
    number = regexp.compile(v: latest |> filter(fn: (r) => types.isType(v: r._value, type: "float")) |> names())
    other = regexp.compile(v: latest |> filter(fn: (r) => not types.isType(v: r._value, type: "float")) |> names())
    pure = () => raw() |> filter(fn: (r) => r._field =~ number and r._field !~ other)
    mixed = () => raw()
        |> filter(fn: (r) => r._field =~ number and r._field =~ other)
        |> filter(fn: (r) => types.isType(v: r._value, type: "float"))
    named = (suffix, tables=<-) => tables |> map(fn: (r) => ({r with _field: r._field + suffix}))

    // Each reads for itself and is written by itself: what several share the storage does not aggregate, and a union of
    // thousands of series takes longer than both.
    return {
        lasts: lasts |> named(suffix: "_last"),
        means: pure() |> aggregateWindow(every: every, fn: mean, createEmpty: false) |> named(suffix: "_mean"),
        mins: pure() |> aggregateWindow(every: every, fn: min, createEmpty: false) |> named(suffix: "_min"),
        maxs: pure() |> aggregateWindow(every: every, fn: max, createEmpty: false) |> named(suffix: "_max"),
        mixed_means: mixed() |> aggregateWindow(every: every, fn: mean, createEmpty: false) |> named(suffix: "_mean"),
        mixed_mins: mixed() |> aggregateWindow(every: every, fn: min, createEmpty: false) |> named(suffix: "_min"),
        mixed_maxs: mixed() |> aggregateWindow(every: every, fn: max, createEmpty: false) |> named(suffix: "_max"),
    }
}

// A journal's age at most, by default, and a day more.
since = date.truncate(t: -8d, unit: 1h)
until = date.truncate(t: now(), unit: 1h)

replayed = from(bucket: "processo_raw")
    |> range(start: since, stop: until)
    |> filter(fn: (r) => r._measurement !~ /^ingest_/ and r._field == "replayed")
    |> aggregateWindow(every: 1h, fn: count, createEmpty: false, timeSrc: "_start")
    |> group(columns: ["_time"])
    |> sum()
    |> group()
    |> map(fn: (r) => ({_time: r._time, _value: r._value, _measurement: "ingest_repair", _field: "replayed"}))

known = from(bucket: "processo_1h")
    |> range(start: since, stop: until)
    |> filter(fn: (r) => r._measurement == "ingest_repair" and r._field == "replayed")
    |> group()
    |> map(fn: (r) => ({_time: r._time, _value: 0 - r._value, _measurement: "ingest_repair", _field: "replayed"}))

hours = union(tables: [replayed, known])
    |> group(columns: ["_time"])
    |> sum()
    |> filter(fn: (r) => r._value != 0)
    |> group()
    |> sort(columns: ["_time"])
    |> findColumn(fn: (key) => true, column: "_time")

first = if length(arr: hours) > 0 then hours[0] else date.sub(from: until, d: 1h)
final = if length(arr: hours) > 0 then date.add(to: hours[length(arr: hours) - 1], d: 1h) else until

minutes = aggregate(start: first, stop: final, every: 1m)
minutes.lasts |> to(bucket: "processo_1m")
minutes.means |> to(bucket: "processo_1m")
minutes.mins |> to(bucket: "processo_1m")
minutes.maxs |> to(bucket: "processo_1m")
minutes.mixed_means |> to(bucket: "processo_1m")
minutes.mixed_mins |> to(bucket: "processo_1m")
minutes.mixed_maxs |> to(bucket: "processo_1m")

hourly = aggregate(start: first, stop: final, every: 1h)
hourly.lasts |> to(bucket: "processo_1h")
hourly.means |> to(bucket: "processo_1h")
hourly.mins |> to(bucket: "processo_1h")
hourly.maxs |> to(bucket: "processo_1h")
hourly.mixed_means |> to(bucket: "processo_1h")
hourly.mixed_mins |> to(bucket: "processo_1h")
hourly.mixed_maxs |> to(bucket: "processo_1h")
replayed |> to(bucket: "processo_1h")
