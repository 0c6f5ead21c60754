// Every hour: the latest three hours of processo_raw into processo_1h, from the raw values, since a mean of means is none.
// Only whole hours are written, so that running it again changes nothing.
import "date"
import "regexp"
import "strings"
import "types"

option task = {name: "downsample_1h", every: 1h, offset: 1m}

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

hourly = aggregate(start: date.truncate(t: -3h, unit: 1h), stop: date.truncate(t: now(), unit: 1h), every: 1h)
hourly.lasts |> to(bucket: "processo_1h")
hourly.means |> to(bucket: "processo_1h")
hourly.mins |> to(bucket: "processo_1h")
hourly.maxs |> to(bucket: "processo_1h")
hourly.mixed_means |> to(bucket: "processo_1h")
hourly.mixed_mins |> to(bucket: "processo_1h")
hourly.mixed_maxs |> to(bucket: "processo_1h")
