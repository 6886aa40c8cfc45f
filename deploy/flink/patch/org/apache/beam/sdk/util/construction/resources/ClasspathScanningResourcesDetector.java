// Takes the place of the class of this name in beam-sdks-java-core 2.70.0. The original uploads the whole class path (200 MB)
// with every job; the cluster of `kairos up` has the same jars on its own class path, so nothing needs to be sent.
// -Dkairos.beam.stage=path1:path2 names jars to send to a Flink that does not have them.
package org.apache.beam.sdk.util.construction.resources;

import io.github.classgraph.ClassGraph;
import java.io.File;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

public class ClasspathScanningResourcesDetector implements PipelineResourcesDetector {
  public ClasspathScanningResourcesDetector(ClassGraph unused) {}

  @Override
  public List<String> detect(ClassLoader loader) {
    String set = System.getProperty("kairos.beam.stage", "");
    return set.isEmpty() ? Collections.emptyList() : Arrays.asList(set.split(File.pathSeparator));
  }
}
