# Read by CMake's project() command (CMAKE_PROJECT_INCLUDE) when ROS comes from PyPI wheels.
#
# The wheels' `*__rosidl_generator_py` targets export the Python and NumPy include folders of the machine they were built
# on, and CMake refuses to use a target whose include folder does not exist. At the end of the project's CMakeLists.txt,
# when find_package() has made all of them, those folders are replaced by the ones of the Python that builds.

function(salus_fix_wheel_paths)
  find_package(Python3 REQUIRED COMPONENTS Interpreter Development.Module NumPy)
  get_directory_property(targets IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders MATCHES "/opt/python/")
      continue()
    endif()
    list(TRANSFORM folders REPLACE "^/opt/python/.*/numpy/.*include$" "${Python3_NumPy_INCLUDE_DIRS}")
    list(TRANSFORM folders REPLACE "^/opt/python/.*$" "${Python3_INCLUDE_DIRS}")
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
  endforeach()
endfunction()

cmake_language(DEFER CALL salus_fix_wheel_paths)
