#!/bin/sh
# What: a shell that counts into a file, with a `sleep` child most of the time.
# Go: file
# Copy: no
folder=$1
n=0
while [ ! -e "$folder/go" ]; do
  n=$((n + 1))
  echo $n >> "$folder/count"
  [ $n = 5 ] && : > "$folder/ready"
  sleep 0.02
done
i=0
while read -r line; do
  i=$((i + 1))
  [ "$line" = $i ] || echo "line $i of the count is $line" > "$folder/wrong"
done < "$folder/count"
[ $i = $n ] || echo "counted to $n, $i lines" > "$folder/wrong"
if [ -e "$folder/wrong" ]; then mv "$folder/wrong" "$folder/result"; exit 1; fi
echo OK > "$folder/ok" && mv "$folder/ok" "$folder/result"
